// SPDX-License-Identifier: MIT
// Prints the messages of MCAP files, by their index, with the libraries that Foxglove and
// Lichtblick read with: a line each, [topic, time, [values ...]], those as plain.js has them.
const fs = require("fs");
const { McapIndexedReader } = require("@mcap/core");
const { parse } = require("@foxglove/rosmsg");
const { MessageReader } = require("@foxglove/rosmsg2-serialization");
const { plain } = require("./plain.js");

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
