/* SPDX-License-Identifier: MIT
 * Reads container files with Apache Avro for Java, from the avro-tools jar, and prints per file what
 * tests/readers/canonical.py describes (entries of maps in the order of their names: the library
 * keeps them in a HashMap; what is sent has them in that order). The first argument says how: "values" digests every value
 * (org.apache.avro.file.DataFileReader), "tools" runs avro-tools' own `count` and `tojson` on the
 * file and prints what both agree on; "version" prints the library's. */
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.zip.CRC32;
import org.apache.avro.Schema;
import org.apache.avro.file.DataFileReader;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericFixed;
import org.apache.avro.generic.IndexedRecord;
import org.apache.avro.tool.DataFileReadTool;
import org.apache.avro.tool.RecordCountTool;

public final class ReadAvro {
  private CRC32 checksum = new CRC32();
  private long dumped;

  /** Counts lines, keeps none of them. */
  private static final class Lines extends OutputStream {
    long lines;

    @Override
    public void write(int octet) {
      if (octet == '\n')
        lines++;
    }

    @Override
    public void write(byte[] bytes, int from, int count) {
      for (int i = from; i < from + count; i++)
        write(bytes[i]);
    }
  }

  private void take(byte[] bytes) {
    checksum.update(bytes, 0, bytes.length);
    dumped += bytes.length;
  }

  private void take(String text) {
    take(text.getBytes(StandardCharsets.UTF_8));
  }

  private void takeText(Object text) {
    byte[] bytes = text.toString().getBytes(StandardCharsets.UTF_8);
    take("s" + bytes.length + ":");
    take(bytes);
  }

  private void takeReal(double value) {
    if (Double.isNaN(value))
      take("nan;");
    else if (value == Math.rint(value) && Math.abs(value) < 9007199254740992.0
        && Double.doubleToRawLongBits(value) != Long.MIN_VALUE)
      take((long) value + ";");
    else
      take(String.format("d%016x;", Double.doubleToRawLongBits(value)));
  }

  private void walk(Schema schema, Object value) {
    switch (schema.getType()) {
      case NULL:
        take("n;");
        break;
      case BOOLEAN:
        take((Boolean) value ? "t;" : "f;");
        break;
      case INT:
      case LONG:
        take(((Number) value).longValue() + ";");
        break;
      case FLOAT:
      case DOUBLE:
        takeReal(((Number) value).doubleValue());
        break;
      case BYTES: {
        byte[] bytes = new byte[((ByteBuffer) value).remaining()];
        ((ByteBuffer) value).duplicate().get(bytes);
        take("b" + bytes.length + ":");
        take(bytes);
        break;
      }
      case FIXED: {
        byte[] bytes = ((GenericFixed) value).bytes();
        take("b" + bytes.length + ":");
        take(bytes);
        break;
      }
      case STRING:
      case ENUM:
        takeText(value);
        break;
      case UNION:
        walk(schema.getTypes().get(GenericData.get().resolveUnion(schema, value)), value);
        break;
      case ARRAY:
        take("[");
        for (Object item : (Iterable<?>) value)
          walk(schema.getElementType(), item);
        take("]");
        break;
      case MAP: {
        take("{");
        TreeMap<String, Object> entries = new TreeMap<>();
        for (Map.Entry<?, ?> entry : ((Map<?, ?>) value).entrySet())
          entries.put(entry.getKey().toString(), entry.getValue());
        for (Map.Entry<String, Object> entry : entries.entrySet()) {
          takeText(entry.getKey());
          walk(schema.getValueType(), entry.getValue());
        }
        take("}");
        break;
      }
      case RECORD:
        take("{");
        for (Schema.Field field : schema.getFields()) {
          takeText(field.name());
          walk(field.schema(), ((IndexedRecord) value).get(field.pos()));
        }
        take("}");
        break;
      default:
        throw new IllegalArgumentException("unknown type " + schema);
    }
  }

  private String values(String path) throws Exception {
    checksum = new CRC32();
    dumped = 0;
    long count = 0;
    try (DataFileReader<Object> reader = new DataFileReader<>(new File(path), new GenericDatumReader<>())) {
      Schema schema = reader.getSchema();
      for (Object value : reader) {
        walk(schema, value);
        take("\n");
        count++;
      }
    }
    return count + "\t" + dumped + "-" + String.format("%08x", checksum.getValue());
  }

  private static String tools(String path) throws Exception {
    InputStream nothing = InputStream.nullInputStream();
    ByteArrayOutputStream said = new ByteArrayOutputStream(), wrong = new ByteArrayOutputStream();
    Lines lines = new Lines();
    try (PrintStream number = new PrintStream(said, true, "UTF-8");
        PrintStream errors = new PrintStream(wrong, true, "UTF-8");
        PrintStream json = new PrintStream(lines)) {
      int first = new RecordCountTool().run(nothing, number, errors, List.of(path));
      int second = new DataFileReadTool().run(nothing, json, errors, List.of(path));
      if (first != 0 || second != 0 || wrong.size() != 0)
        throw new IllegalStateException("exit " + first + " and " + second + ": " + wrong);
    }
    String count = said.toString("UTF-8").trim();
    if (!count.equals(Long.toString(lines.lines)))
      throw new IllegalStateException("count says " + count + ", tojson printed " + lines.lines);
    return count + "\t-";
  }

  public static void main(String[] arguments) {
    if (arguments[0].equals("version")) {
      System.out.println(DataFileReader.class.getPackage().getImplementationVersion());
      return;
    }
    ReadAvro reader = new ReadAvro();
    for (String path : Arrays.copyOfRange(arguments, 1, arguments.length)) {
      String result;
      try {
        result = arguments[0].equals("tools") ? tools(path) : reader.values(path);
      } catch (Throwable error) { // whatever it is, it is the answer for this file
        result = "error\t" + error.toString().replaceAll("\\s+", " ");
      }
      System.out.println(path + "\t" + result);
    }
  }
}
