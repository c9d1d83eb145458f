//! A profiles file's plans and tenants one after the other, each with the line it begins on.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Read};

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::Profile;
use crate::plan::Plan;

/// One thing in the file.
#[derive(Debug)]
pub enum Item {
    /// A plan and its name.
    Plan(String, Box<Plan>),
    /// A tenant.
    Tenant(Box<Profile>),
}

/// Calls `take` with each item and the line it begins on.
///
/// # Errors
/// The file cannot be read or is not of the form; the text says where.
pub fn each(file: impl Read, take: impl FnMut(usize, Item)) -> Result<(), String> {
    let line = Cell::new(1);
    let counted = LineCounter { file, line: &line };
    let mut deserializer = serde_json::Deserializer::from_reader(counted);
    let mut sink = Sink { line: &line, take };
    FileSeed(&mut sink)
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end())
        .map_err(|error| error.to_string())
}

/// serde_json asks a reader for one byte at a time, so the line is always the current one.
struct LineCounter<'a, R> {
    file: R,
    line: &'a Cell<usize>,
}

impl<R: Read> Read for LineCounter<'_, R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(bytes)?;
        let lines = bytes[..length].iter().filter(|byte| **byte == b'\n').count();
        self.line.set(self.line.get() + lines);
        Ok(length)
    }
}

struct Sink<'a, F> {
    line: &'a Cell<usize>,
    take: F,
}

struct FileSeed<'a, 'b, F>(&'a mut Sink<'b, F>);

impl<'de, F: FnMut(usize, Item)> DeserializeSeed<'de> for FileSeed<'_, '_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: FnMut(usize, Item)> Visitor<'de> for FileSeed<'_, '_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with \"plans\" and \"tenants\"")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut has_tenants = false;
        let mut has_plans = false;
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "plans" if !std::mem::replace(&mut has_plans, true) => {
                    map.next_value_seed(PlansSeed(self.0))?;
                }
                "tenants" if !std::mem::replace(&mut has_tenants, true) => {
                    map.next_value_seed(TenantsSeed(self.0))?;
                }
                "plans" => return Err(A::Error::duplicate_field("plans")),
                "tenants" => return Err(A::Error::duplicate_field("tenants")),
                other => {
                    map.next_value::<IgnoredAny>()?;
                    return Err(A::Error::unknown_field(other, &["plans", "tenants"]));
                }
            }
        }
        match has_tenants {
            true => Ok(()),
            false => Err(A::Error::missing_field("tenants")),
        }
    }
}

struct PlansSeed<'a, 'b, F>(&'a mut Sink<'b, F>);

impl<'de, F: FnMut(usize, Item)> DeserializeSeed<'de> for PlansSeed<'_, '_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: FnMut(usize, Item)> Visitor<'de> for PlansSeed<'_, '_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of plans by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            let line = self.0.line.get();
            let plan = map.next_value::<Plan>()?;
            (self.0.take)(line, Item::Plan(name, Box::new(plan)));
        }
        Ok(())
    }
}

struct TenantsSeed<'a, 'b, F>(&'a mut Sink<'b, F>);

impl<'de, F: FnMut(usize, Item)> DeserializeSeed<'de> for TenantsSeed<'_, '_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(usize, Item)> Visitor<'de> for TenantsSeed<'_, '_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of tenants")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some((line, profile)) = seq.next_element_seed(TenantSeed(self.0.line))? {
            (self.0.take)(line, Item::Tenant(Box::new(profile)));
        }
        Ok(())
    }
}

struct TenantSeed<'a>(&'a Cell<usize>);

impl<'de> DeserializeSeed<'de> for TenantSeed<'_> {
    type Value = (usize, Profile);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for TenantSeed<'_> {
    type Value = (usize, Profile);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a tenant")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        // Its opening brace has just been read.
        let line = self.0.get();
        Profile::deserialize(MapAccessDeserializer::new(map)).map(|profile| (line, profile))
    }
}
