// SPDX-License-Identifier: MIT
// Prints the messages of MCAP files, by their index, with the libraries that Foxglove and
// Lichtblick read with: a line each, [topic, time, [values ...]]. A number is written as an integer
// where it is one, else as the bits of its double, so that nothing is lost on the way.
const fs = require("fs");
const { McapIndexedReader } = require("@mcap/core");
const { parse } = require("@foxglove/rosmsg");
const { MessageReader } = require("@foxglove/rosmsg2-serialization");

function number(value) {
  if (typeof value === "bigint") return value.toString();
  if (Number.isSafeInteger(value) && !Object.is(value, -0)) return value.toString();
  if (Number.isNaN(value)) return "nan";
  const bits = Buffer.alloc(8);
  bits.writeDoubleBE(value);
  return bits.toString("hex");
}

function plain(value) {
  if (typeof value === "number" || typeof value === "bigint") return number(value);
  if (typeof value !== "object") return value;
  if (Array.isArray(value) || ArrayBuffer.isView(value)) return Array.from(value, plain);
  return Object.values(value).map(plain);
}

async function print(path) {
  const data = fs.readFileSync(path);
  const readable = {
    size: async () => BigInt(data.length),
    read: async (at, size) => new Uint8Array(data.subarray(Number(at), Number(at + size))),
  };
  const reader = await McapIndexedReader.Initialize({ readable });
  const readers = new Map();
  for await (const message of reader.readMessages()) {
    const channel = reader.channelsById.get(message.channelId);
    if (!readers.has(channel.id)) {
      const schema = reader.schemasById.get(channel.schemaId);
      const definition = parse(new TextDecoder().decode(schema.data), { ros2: true });
      readers.set(channel.id, new MessageReader(definition));
    }
    const value = readers.get(channel.id).readMessage(message.data);
    console.log(JSON.stringify([channel.topic, message.logTime.toString(), plain(value)]));
  }
}

(async () => {
  for (const path of process.argv.slice(2)) await print(path);
})();
