// SPDX-License-Identifier: MIT
//! Reads container files with the Rust apache-avro crate and prints per file what
//! tests/readers/canonical.py describes. The crate keeps maps in a HashMap, so entries are put in
//! the order of their names; what is sent to it has them in that order.
use apache_avro::{types::Value, Reader};
use std::{env, fs::File, io::BufReader};

struct Dump {
    checksum: u32,
    bytes: u64,
}

impl Dump {
    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.checksum ^= u32::from(*byte);
            for _ in 0..8 {
                let odd = self.checksum & 1;
                self.checksum = (self.checksum >> 1) ^ (0xedb8_8320 * odd);
            }
        }
        self.bytes += bytes.len() as u64;
    }

    fn number(&mut self, number: i64) {
        self.take(format!("{number};").as_bytes());
    }

    fn real(&mut self, real: f64) {
        if real.is_nan() {
            self.take(b"nan;");
        } else if real.trunc() == real
            && real.abs() < 9007199254740992.0
            && (real != 0.0 || real.is_sign_positive())
        {
            self.number(real as i64);
        } else {
            self.take(format!("d{:016x};", real.to_bits()).as_bytes());
        }
    }

    fn sized(&mut self, kind: char, bytes: &[u8]) {
        self.take(format!("{kind}{}:", bytes.len()).as_bytes());
        self.take(bytes);
    }

    fn value(&mut self, value: &Value) -> Result<(), String> {
        match value {
            Value::Null => self.take(b"n;"),
            Value::Boolean(truth) => self.take(if *truth { b"t;" } else { b"f;" }),
            Value::Int(n) | Value::Date(n) | Value::TimeMillis(n) => self.number(i64::from(*n)),
            Value::Long(n)
            | Value::TimeMicros(n)
            | Value::TimestampMillis(n)
            | Value::TimestampMicros(n)
            | Value::TimestampNanos(n)
            | Value::LocalTimestampMillis(n)
            | Value::LocalTimestampMicros(n)
            | Value::LocalTimestampNanos(n) => self.number(*n),
            Value::Float(real) => self.real(f64::from(*real)),
            Value::Double(real) => self.real(*real),
            Value::Bytes(bytes) | Value::Fixed(_, bytes) => self.sized('b', bytes),
            Value::String(text) | Value::Enum(_, text) => self.sized('s', text.as_bytes()),
            Value::Union(_, inner) => self.value(inner)?,
            Value::Array(items) => {
                self.take(b"[");
                for item in items {
                    self.value(item)?;
                }
                self.take(b"]");
            }
            Value::Map(entries) => {
                let mut names: Vec<_> = entries.keys().collect();
                names.sort();
                self.take(b"{");
                for name in names {
                    self.sized('s', name.as_bytes());
                    self.value(&entries[name])?;
                }
                self.take(b"}");
            }
            Value::Record(fields) => {
                self.take(b"{");
                for (name, field) in fields {
                    self.sized('s', name.as_bytes());
                    self.value(field)?;
                }
                self.take(b"}");
            }
            other => return Err(format!("no canonical form of {other:?}")),
        }
        Ok(())
    }
}

fn read(path: &str) -> Result<String, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut dump = Dump { checksum: !0, bytes: 0 };
    let mut count = 0u64;
    for value in Reader::new(BufReader::new(file)).map_err(|error| error.to_string())? {
        let value = value.map_err(|error| format!("after {count} datums: {error}"))?;
        dump.value(&value)?;
        dump.take(b"\n");
        count += 1;
    }
    Ok(format!("{count}\t{}-{:08x}", dump.bytes, !dump.checksum))
}

fn main() {
    for path in env::args().skip(1) {
        match read(&path) {
            Ok(result) => println!("{path}\t{result}"),
            Err(text) => println!("{path}\terror\t{}", text.replace('\n', " ")),
        }
    }
}
