// SPDX-License-Identifier: MIT
// An Avro schema as the tree of fields that it is.

export interface Field {
  name: string; // as it stands in its record
  path: string; // as commands and the live socket call it
  type: string; // in a word or two, for people
  unit: string | null;
  doc: string | null;
  symbols: string[] | null;
  charted: boolean; // it has a number
  item: ((index: number) => Field) | null; // of an array: NAME[index]
  children: Field[];
}

const DEPTH_MAX = 12;
const FIELDS_MAX = 100000;
const NUMBERS = new Set(["int", "long", "float", "double", "boolean"]);

type Json = string | JsonObject | Json[];
interface JsonObject {
  [key: string]: unknown;
}

function fullName(type: JsonObject, space: string): string {
  const name = String(type.name ?? "");
  if (name.includes(".")) return name;
  const own = typeof type.namespace === "string" ? type.namespace : space;
  return own ? `${own}.${name}` : name;
}

class Reader {
  private named = new Map<string, JsonObject>();
  private left = FIELDS_MAX;

  /** The type itself: of a name, what it stands for; of a union with null, the other. */
  private resolve(type: Json, space: string): { type: JsonObject; space: string; or: string } {
    if (Array.isArray(type)) {
      const present = type.filter((one) => one !== "null" &&
        !(typeof one === "object" && !Array.isArray(one) && one.type === "null"));
      const first = present[0] ?? "null";
      const number = present.find((one) => typeof one === "string" && NUMBERS.has(one));
      const resolved = this.resolve(number ?? first, space);
      return {
        ...resolved,
        or: present.length > 1 ? " or other" : present.length < type.length ? " or none" : "",
      };
    }
    if (typeof type === "string") {
      const known = this.named.get(type) ?? this.named.get(space ? `${space}.${type}` : type);
      return { type: known ?? { type }, space, or: "" };
    }
    if (typeof type.type === "object" && type.type !== null)
      return this.resolve(type.type as Json, space);
    if (type.type === "record" || type.type === "enum" || type.type === "fixed" ||
        type.type === "error") {
      const name = fullName(type, space);
      this.named.set(name, type);
      return { type, space: name.slice(0, Math.max(0, name.lastIndexOf("."))), or: "" };
    }
    if (typeof type.type === "string" && this.named.has(type.type))
      return this.resolve(type.type, space);
    return { type, space, or: "" };
  }

  fields(record: JsonObject, path: string, space: string, depth: number): Field[] {
    const list = Array.isArray(record.fields) ? record.fields as JsonObject[] : [];
    const fields: Field[] = [];
    for (const one of list) {
      if (this.left-- <= 0) break;
      fields.push(this.field(one, path, space, depth));
    }
    return fields;
  }

  private field(one: JsonObject, path: string, space: string, depth: number): Field {
    const attribute = (key: string) => typeof one[key] === "string" ? one[key] as string
      : typeof one.type === "object" && one.type !== null && !Array.isArray(one.type) &&
        typeof (one.type as JsonObject)[key] === "string"
        ? (one.type as JsonObject)[key] as string : null;
    const name = String(one.name ?? "");
    return {
      ...this.value(name, path ? `${path}.${name}` : name, one.type as Json, space, depth,
        attribute("unit")),
      doc: attribute("doc"),
    };
  }

  /** A field, or an item of an array, which has the array's unit. */
  private value(name: string, path: string, of: Json, space: string, depth: number,
    unit: string | null): Field {
    const { type, space: inner, or } = this.resolve(of, space);
    const kind = String(type.type);
    const field: Field = {
      name, path, type: kind + or, unit, doc: null,
      symbols: kind === "enum" && Array.isArray(type.symbols) ? type.symbols.map(String) : null,
      charted: NUMBERS.has(kind) || kind === "enum", item: null, children: [],
    };
    if (kind === "record" && depth < DEPTH_MAX)
      field.children = this.fields(type, path, inner, depth + 1);
    if (kind === "array" && depth < DEPTH_MAX) {
      const items = type.items as Json;
      field.type = `array of ${String(this.resolve(items, inner).type.type)}`;
      field.item = (index) =>
        this.value(`[${index}]`, `${path}[${index}]`, items, inner, depth + 1, unit);
    }
    if (typeof type.logicalType === "string") field.type = type.logicalType.replace(/-/g, " ");
    return field;
  }

  read(schema: Json): { fields: Field[]; doc: string | null } {
    const { type, space } = this.resolve(schema, "");
    return {
      fields: type.type === "record" ? this.fields(type, "", space, 0) : [],
      doc: typeof type.doc === "string" ? type.doc : null,
    };
  }
}

/** The fields of a schema as text; throws where it is no JSON. */
export function readSchema(text: string): { fields: Field[]; doc: string | null } {
  return new Reader().read(JSON.parse(text) as Json);
}

/** The field of that path, or null. */
export function findField(fields: Field[], path: string): Field | null {
  for (const field of fields) {
    if (field.path === path) return field;
    if (path.startsWith(`${field.path}.`)) return findField(field.children, path);
    const index = field.item && path.startsWith(`${field.path}[`)
      ? /^\[(\d{1,6})\]/.exec(path.slice(field.path.length)) : null;
    if (index) return findField([field.item!(Number(index[1]))], path);
  }
  return null;
}
