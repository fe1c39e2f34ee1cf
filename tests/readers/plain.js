// SPDX-License-Identifier: MIT
// A message's values for JSON, with nothing lost on the way: a number is written as an integer
// where it is one, else as the bits of its double.
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

module.exports = { plain };
