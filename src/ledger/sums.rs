//! The numbers that analytics have of everything.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use utoipa::PartialSchema;
use utoipa::ToSchema;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};

/// One of the numbers. The order is that of reports; the letters are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measure {
    /// Handshakes that both sides accepted.
    Handshakes,
    /// Plain requests that were let in.
    Requests,
    /// Whole data messages from clients.
    MessagesFromClient,
    /// Whole data messages from the runtime.
    MessagesFromRuntime,
    /// Bytes on the wire of connections, from clients.
    BytesFromClient,
    /// Bytes on the wire of connections, from the runtime.
    BytesFromRuntime,
    /// Handshakes and requests that were refused.
    Refusals,
    /// How often a plan had somebody wait, left out a message, closed, or refused.
    Throttled,
    /// Milliseconds that connections were there, all added up; told in seconds.
    ConnectionMs,
}

impl Measure {
    /// How many there are.
    pub const COUNT: usize = 9;
    /// All, in their order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Handshakes,
        Self::Requests,
        Self::MessagesFromClient,
        Self::MessagesFromRuntime,
        Self::BytesFromClient,
        Self::BytesFromRuntime,
        Self::Refusals,
        Self::Throttled,
        Self::ConnectionMs,
    ];

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Handshakes => "handshakes",
            Self::Requests => "requests",
            Self::MessagesFromClient => "messages_from_client",
            Self::MessagesFromRuntime => "messages_from_runtime",
            Self::BytesFromClient => "bytes_from_client",
            Self::BytesFromRuntime => "bytes_from_runtime",
            Self::Refusals => "refusals",
            Self::Throttled => "throttled",
            Self::ConnectionMs => "connection_seconds",
        }
    }

    /// Whether it counts handshakes and requests.
    #[must_use]
    pub fn is_a_call(self) -> bool {
        matches!(self, Self::Handshakes | Self::Requests | Self::Refusals)
    }

    /// Its letter in the registry.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::Handshakes => 'h',
            Self::Requests => 'r',
            Self::MessagesFromClient => 'm',
            Self::MessagesFromRuntime => 'n',
            Self::BytesFromClient => 'b',
            Self::BytesFromRuntime => 'c',
            Self::Refusals => 'f',
            Self::Throttled => 't',
            Self::ConnectionMs => 's',
        }
    }

    /// What [`Measure::letter`] says.
    #[must_use]
    pub fn of_letter(letter: char) -> Option<Self> {
        Self::ALL.into_iter().find(|measure| measure.letter() == letter)
    }
}

/// All numbers of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sums([u64; Measure::COUNT]);

impl From<[u64; Measure::COUNT]> for Sums {
    fn from(counts: [u64; Measure::COUNT]) -> Self {
        Self(counts)
    }
}

impl Sums {
    /// One of them.
    #[must_use]
    pub fn get(&self, measure: Measure) -> u64 {
        self.0[measure as usize]
    }

    /// As a report has it: times in whole seconds, rounded.
    #[must_use]
    pub fn told(&self, measure: Measure) -> u64 {
        match measure {
            Measure::ConnectionMs => self.get(measure).saturating_add(500) / 1000,
            _ => self.get(measure),
        }
    }

    /// So many more.
    pub fn add(&mut self, measure: Measure, more: u64) {
        let count = &mut self.0[measure as usize];
        *count = count.saturating_add(more);
    }

    /// All of another's more.
    pub fn add_all(&mut self, other: &Self) {
        for (measure, more) in other.each() {
            self.add(measure, more);
        }
    }

    /// What is left without another's.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|place| self.0[place].saturating_sub(other.0[place])))
    }

    /// Those that are not zero.
    pub fn each(&self) -> impl Iterator<Item = (Measure, u64)> {
        Measure::ALL.into_iter().zip(self.0).filter(|(_, count)| *count > 0)
    }

    /// Messages in both directions.
    #[must_use]
    pub fn messages(&self) -> u64 {
        let from_client = self.get(Measure::MessagesFromClient);
        from_client.saturating_add(self.get(Measure::MessagesFromRuntime))
    }

    /// Bytes in both directions.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.get(Measure::BytesFromClient).saturating_add(self.get(Measure::BytesFromRuntime))
    }

    /// Whether all are zero.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl Serialize for Sums {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(Measure::COUNT))?;
        for measure in Measure::ALL {
            map.serialize_entry(measure.name(), &self.told(measure))?;
        }
        map.end()
    }
}

impl PartialSchema for Sums {
    fn schema() -> RefOr<Schema> {
        let number = || {
            ObjectBuilder::new()
                .schema_type(SchemaType::new(Type::Integer))
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
                .minimum(Some(0))
        };
        let object = Measure::ALL.into_iter().fold(ObjectBuilder::new(), |object, measure| {
            object.property(measure.name(), number()).required(measure.name())
        });
        object.into()
    }
}

impl ToSchema for Sums {}
