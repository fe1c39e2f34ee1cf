// SPDX-License-Identifier: MIT
// A client of Foxglove's protocol, of the library that Lichtblick connects with: subscribes to
// every topic that is advertised and prints what comes, a line each:
//     ["serverInfo", {...}] ["advertise", {...}] ["unadvertise", id] ["status", {...}]
//     ["message", topic, time, [values ...]]
// Values are those of @foxglove/rosmsg2-serialization, printed as read_mcap.js prints them.
// read_foxglove.js URL SUBPROTOCOL[,SUBPROTOCOL]
const { FoxgloveClient } = require("@foxglove/ws-protocol");
const { parse } = require("@foxglove/rosmsg");
const { MessageReader } = require("@foxglove/rosmsg2-serialization");
const WebSocket = require("ws");
const { plain } = require("./plain.js");

const [url, protocols] = process.argv.slice(2);
const socket = new WebSocket(url, protocols.split(","));
const client = new FoxgloveClient({ ws: socket });
const readers = new Map();
const say = (...words) => process.stdout.write(JSON.stringify(words) + "\n");

client.on("open", () => say("open", socket.protocol));
client.on("error", (error) => say("error", String(error)));
client.on("close", (event) => {
  say("close", event.code);
  process.exit(0);
});
client.on("serverInfo", (info) => say("serverInfo", info));
client.on("status", (status) => say("status", status));
client.on("unadvertise", (ids) => say("unadvertise", ids));
client.on("time", (event) => say("time", event.timestamp.toString()));
client.on("advertise", (channels) => {
  for (const channel of channels) {
    say("advertise", channel);
    const reader = new MessageReader(parse(channel.schema, { ros2: true }));
    readers.set(client.subscribe(channel.id), { channel, reader });
  }
});
client.on("message", ({ subscriptionId, timestamp, data }) => {
  const { channel, reader } = readers.get(subscriptionId);
  say("message", channel.topic, timestamp.toString(), plain(reader.readMessage(data)));
});
