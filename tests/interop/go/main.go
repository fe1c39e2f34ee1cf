// SPDX-License-Identifier: MIT

// Reads container files with hamba/avro or linkedin/goavro, as the first argument says, and prints
// per file what tests/readers/canonical.py describes. Both give generic values and no order of
// fields, so they are walked by the schema of the file's header; entries of maps are put in the
// order of their names, and what is sent has them in that order.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"reflect"
	"runtime/debug"
	"sort"
	"strings"
	"time"

	"github.com/hamba/avro/v2"
	"github.com/hamba/avro/v2/ocf"
	"github.com/linkedin/goavro/v2"
)

// A schema, as far as walking a value needs it.
type node struct {
	kind, logical, name string
	fields              []field
	branches            []*node
	items               *node
}

type field struct {
	name string
	node *node
}

type names map[string]*node

func (known names) parse(raw any, space string) (*node, error) {
	switch part := raw.(type) {
	case string:
		for _, full := range []string{qualified(part, space), part} {
			if one, found := known[full]; found {
				return one, nil
			}
		}
		return &node{kind: part}, nil
	case []any:
		union := &node{kind: "union"}
		for _, each := range part {
			branch, err := known.parse(each, space)
			if err != nil {
				return nil, err
			}
			union.branches = append(union.branches, branch)
		}
		return union, nil
	case map[string]any:
		kind, simple := part["type"].(string)
		if !simple {
			return known.parse(part["type"], space)
		}
		own := &node{kind: kind}
		own.logical, _ = part["logicalType"].(string)
		if name, named := part["name"].(string); named {
			if given, has := part["namespace"].(string); has {
				space = given
			}
			own.name = qualified(name, space)
			if dot := strings.LastIndex(own.name, "."); dot >= 0 {
				space = own.name[:dot]
			}
			known[own.name] = own
		}
		var err error
		switch kind {
		case "record":
			for _, each := range part["fields"].([]any) {
				one := each.(map[string]any)
				inner, err := known.parse(one["type"], space)
				if err != nil {
					return nil, err
				}
				own.fields = append(own.fields, field{one["name"].(string), inner})
			}
		case "array":
			own.items, err = known.parse(part["items"], space)
		case "map":
			own.items, err = known.parse(part["values"], space)
		}
		return own, err
	}
	return nil, fmt.Errorf("not a schema: %v", raw)
}

func qualified(name, space string) string {
	if space == "" || strings.Contains(name, ".") {
		return name
	}
	return space + "." + name
}

type dump struct {
	checksum uint32
	bytes    int
	text     []byte
}

func (d *dump) flush() {
	d.checksum = crc32.Update(d.checksum, crc32.IEEETable, d.text)
	d.bytes += len(d.text)
	d.text = d.text[:0]
}

func (d *dump) take(format string, arguments ...any) {
	d.text = fmt.Appendf(d.text, format, arguments...)
}

func (d *dump) sized(kind byte, bytes []byte) {
	d.take("%c%d:", kind, len(bytes))
	d.text = append(d.text, bytes...)
}

func (d *dump) real(value float64) {
	switch {
	case math.IsNaN(value):
		d.take("nan;")
	case math.Trunc(value) == value && math.Abs(value) < 1<<53 &&
		(value != 0 || !math.Signbit(value)):
		d.take("%d;", int64(value))
	default:
		d.take("d%016x;", math.Float64bits(value))
	}
}

// The number behind what a library made of a logical type.
func (n *node) number(value any) (int64, error) {
	switch value := value.(type) {
	case time.Time:
		switch n.logical {
		case "date":
			return value.Unix() / 86400, nil
		case "timestamp-millis", "local-timestamp-millis":
			return value.UnixMilli(), nil
		case "timestamp-micros", "local-timestamp-micros":
			return value.UnixMicro(), nil
		case "timestamp-nanos", "local-timestamp-nanos":
			return value.UnixNano(), nil
		}
	case time.Duration:
		switch n.logical {
		case "time-millis":
			return value.Milliseconds(), nil
		case "time-micros":
			return value.Microseconds(), nil
		}
	}
	if number := reflect.ValueOf(value); number.IsValid() && number.CanInt() {
		return number.Int(), nil
	}
	return 0, fmt.Errorf("%T is no %s %s", value, n.kind, n.logical)
}

// What a library may call a branch.
func (n *node) called(name string) bool {
	return name == n.name || name == n.kind || name == n.kind+"."+n.logical
}

// Whether a bare value can be of this branch. hamba gives some branches without their names; where
// a union holds two kinds of time, its value no longer tells which it was.
func (n *node) fits(value any) bool {
	switch value.(type) {
	case nil:
		return n.kind == "null"
	case bool:
		return n.kind == "boolean"
	case string:
		return n.kind == "string" || n.kind == "enum"
	case []byte:
		return n.kind == "bytes"
	case float32:
		return n.kind == "float"
	case float64:
		return n.kind == "double"
	case time.Duration:
		return strings.HasPrefix(n.logical, "time-")
	case time.Time:
		return n.logical == "date" || strings.Contains(n.logical, "timestamp-")
	case int, int32:
		return n.kind == "int" || n.kind == "long"
	case int64:
		return n.kind == "long"
	case []any:
		return n.kind == "array"
	case map[string]any:
		return n.kind == "record" || n.kind == "map"
	}
	return n.kind == "fixed" && reflect.TypeOf(value).Kind() == reflect.Array
}

func (d *dump) union(n *node, value any) error {
	if named, is := value.(map[string]any); is && len(named) == 1 {
		for name, inner := range named {
			for _, branch := range n.branches {
				if branch.called(name) {
					return d.value(branch, inner)
				}
			}
		}
	}
	for _, branch := range n.branches {
		if branch.fits(value) {
			return d.value(branch, value)
		}
	}
	return fmt.Errorf("%T is no branch of the union", value)
}

func (d *dump) value(n *node, value any) error {
	wrong := fmt.Errorf("%T is no %s", value, n.kind)
	switch n.kind {
	case "null":
		if value != nil {
			return wrong
		}
		d.take("n;")
	case "boolean":
		truth, is := value.(bool)
		if !is {
			return wrong
		}
		if truth {
			d.take("t;")
		} else {
			d.take("f;")
		}
	case "int", "long":
		number, err := n.number(value)
		if err != nil {
			return err
		}
		d.take("%d;", number)
	case "float", "double":
		real := reflect.ValueOf(value)
		if !real.IsValid() || !real.CanFloat() {
			return wrong
		}
		d.real(real.Float())
	case "string", "enum":
		text, is := value.(string)
		if !is {
			return wrong
		}
		d.sized('s', []byte(text))
	case "bytes", "fixed":
		bytes, is := value.([]byte)
		if !is { // fixed: an array of the size
			array := reflect.ValueOf(value)
			if array.Kind() != reflect.Array {
				return wrong
			}
			bytes = make([]byte, array.Len())
			reflect.Copy(reflect.ValueOf(bytes), array)
		}
		d.sized('b', bytes)
	case "union":
		return d.union(n, value)
	case "array":
		items, is := value.([]any)
		if !is {
			return wrong
		}
		d.take("[")
		for _, item := range items {
			if err := d.value(n.items, item); err != nil {
				return err
			}
		}
		d.take("]")
	case "map", "record":
		entries, is := value.(map[string]any)
		if !is {
			return wrong
		}
		order := n.fields
		if n.kind == "map" {
			for name := range entries {
				order = append(order, field{name, n.items})
			}
			sort.Slice(order, func(a, b int) bool { return order[a].name < order[b].name })
		}
		d.take("{")
		for _, one := range order {
			d.sized('s', []byte(one.name))
			if err := d.value(one.node, entries[one.name]); err != nil {
				return fmt.Errorf("%s: %w", one.name, err)
			}
		}
		d.take("}")
	default:
		return errors.New("unknown type " + n.kind)
	}
	return nil
}

// One library's walk over a file: the schema's text, then each value until there is none.
type source struct {
	schema []byte
	next   func() (any, bool, error)
}

func open(library string, file *os.File) (*source, error) {
	if library == "goavro" {
		reader, err := goavro.NewOCFReader(bufio.NewReader(file))
		if err != nil {
			return nil, err
		}
		return &source{reader.MetaData()["avro.schema"], func() (any, bool, error) {
			if !reader.Scan() {
				return nil, false, reader.Err()
			}
			value, err := reader.Read()
			return value, true, err
		}}, nil
	}
	// A cache of its own: files may give one name to different types.
	reader, err := ocf.NewDecoder(bufio.NewReader(file),
		ocf.WithDecoderSchemaCache(&avro.SchemaCache{}),
		ocf.WithDecoderConfig(avro.Config{}.Freeze()))
	if err != nil {
		return nil, err
	}
	return &source{reader.Metadata()["avro.schema"], func() (any, bool, error) {
		if !reader.HasNext() {
			return nil, false, reader.Error()
		}
		var value any
		err := reader.Decode(&value)
		return value, true, err
	}}, nil
}

func read(library, path string) (count int, d dump, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v", cause)
		}
	}()
	file, err := os.Open(path)
	if err != nil {
		return
	}
	defer file.Close()
	from, err := open(library, file)
	if err != nil {
		return
	}
	var raw any
	if err = json.Unmarshal(from.schema, &raw); err != nil {
		return
	}
	schema, err := names{}.parse(raw, "")
	if err != nil {
		return
	}
	for {
		value, more, failed := from.next()
		if failed != nil || !more {
			return count, d, failed
		}
		if err = d.value(schema, value); err != nil {
			return
		}
		d.take("\n")
		d.flush()
		count++
	}
}

func main() {
	if os.Args[1] == "version" {
		info, _ := debug.ReadBuildInfo()
		for _, module := range info.Deps {
			fmt.Println(module.Path, module.Version)
		}
		return
	}
	for _, path := range os.Args[2:] {
		count, d, err := read(os.Args[1], path)
		if err != nil {
			text := strings.ReplaceAll(err.Error(), "\n", " ")
			fmt.Printf("%s\terror\tafter %d datums: %s\n", path, count, text)
		} else {
			fmt.Printf("%s\t%d\t%d-%08x\n", path, count, d.bytes, d.checksum)
		}
	}
}
