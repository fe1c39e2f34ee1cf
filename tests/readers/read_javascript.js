// SPDX-License-Identifier: MIT
// Reads container files with avsc or avro-js: read_javascript.js LIBRARY FILE...
// The dump is described in canonical.py. Values are walked by the library's own types, because
// JavaScript has one kind of number and cannot tell a map from a record.
'use strict';
const library = process.argv[2];
const avro = require(library);
const zlib = require('zlib');

// Longs beyond 2^53 need BigInt; both libraries take a replacement for their long type.
const long64 = {
  fromBuffer: (bytes) => bytes.readBigInt64LE(),
  toBuffer: (value) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(value);
    return bytes;
  },
  fromJSON: BigInt,
  toJSON: Number,
  isValid: (value) => typeof value === 'bigint',
  compare: (a, b) => (a === b ? 0 : a < b ? -1 : 1),
};
const long = library === 'avsc' ? avro.types.LongType.__with(long64)
                                : avro.types.LongType.using(long64);

const crcTable = new Uint32Array(256).map((_, i) => {
  for (let bit = 0; bit < 8; bit++) i = i & 1 ? (i >>> 1) ^ 0xedb88320 : i >>> 1;
  return i;
});
let crc, length, parts;

function flush() {
  const bytes = Buffer.concat(parts);
  for (let i = 0; i < bytes.length; i++) crc = (crc >>> 8) ^ crcTable[(crc ^ bytes[i]) & 255];
  length += bytes.length;
  parts = [];
}
const takeBytes = (bytes) => parts.push(bytes);
const take = (text) => takeBytes(Buffer.from(text));
function takeText(text) {
  const bytes = Buffer.from(text);
  take(`s${bytes.length}:`);
  takeBytes(bytes);
}
function takeReal(value) {
  if (Number.isNaN(value)) return take('nan;');
  if (Number.isInteger(value) && Math.abs(value) < 2 ** 53 && !Object.is(value, -0))
    return take(`${value};`);
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(value);
  take(`d${bytes.toString('hex')};`);
}

// The two libraries differ in how a type is asked for its parts.
const call = (type, getter, name) => type[getter] ? type[getter]() : type[name];
function walk(type, value) {
  const kind = library === 'avsc' ? type.typeName : type.constructor.name;
  switch (kind.replace(/Type$/, '').toLowerCase()) {
  case 'null': return take('n;');
  case 'boolean': return take(value ? 't;' : 'f;');
  case 'int': return take(`${value};`);
  case 'long': case 'abstractlong': case 'abstract:long': return take(`${value};`);
  case 'float': case 'double': return takeReal(value);
  case 'bytes': case 'fixed':
    take(`b${value.length}:`);
    return takeBytes(Buffer.from(value));
  case 'string': case 'enum': return takeText(value);
  case 'array':
    take('[');
    for (const item of value) walk(call(type, 'getItemsType', 'itemsType'), item);
    return take(']');
  case 'map':
    take('{');
    for (const name of Object.keys(value)) {
      takeText(name);
      walk(call(type, 'getValuesType', 'valuesType'), value[name]);
    }
    return take('}');
  case 'record': case 'error':
    take('{');
    for (const field of call(type, 'getFields', 'fields')) {
      const name = call(field, 'getName', 'name');
      takeText(name);
      walk(call(field, 'getType', 'type'), value[name]);
    }
    return take('}');
  case 'union:wrapped': case 'wrappedunion': case 'union': {
    if (value === null) return take('n;');
    const name = Object.keys(value)[0];
    for (const branch of call(type, 'getTypes', 'types')) {
      const own = library === 'avsc' ? branch.branchName
                                     : branch.getName() || branch.getName(true);
      if (own === name) return walk(branch, value[name]);
    }
    throw new Error(`no branch ${name}`);
  }
  default: throw new Error(`unknown type ${kind}`);
  }
}

function read(path) {
  return new Promise((resolve) => {
    let count = 0;
    let type = null;
    crc = -1;
    length = 0;
    parts = [];
    const done = (error) => {
      flush();
      const text = error ? `error\t${String(error.message || error).split('\n')[0]}`
        : `${count}\t${length}-${((crc ^ -1) >>> 0).toString(16).padStart(8, '0')}`;
      resolve(console.log(`${path}\t${text}`));
    };
    let decoder;
    try {
      decoder = avro.createFileDecoder(path, {
        // avsc takes a hook, avro-js options; both end in the library's own parse.
        parseHook: (schema) => avro.Type.forSchema(schema, options()),
        parseOpts: options(),
        codecs: {deflate: zlib.inflateRaw, null: (bytes, next) => next(null, bytes)},
      });
    } catch (error) {
      return done(error);
    }
    decoder.on('metadata', (own) => { type = own; });
    decoder.on('data', (value) => {
      try {
        walk(type, value);
      } catch (error) {
        decoder.destroy();
        return done(error);
      }
      take('\n');
      if (++count % 1000 === 0) flush();
    });
    decoder.on('error', done);
    decoder.on('end', () => done(null));
  });
}

// A fresh registry a file; the library's logical types stay off, so that numbers stay numbers.
function options() {
  return {
    registry: {long},
    wrapUnions: true,
    typeHook: (schema) => (schema && schema.type === 'long' ? long : undefined),
  };
}

(async () => {
  for (const path of process.argv.slice(3)) await read(path);
})();
