//! Reading what a server answered.

use redis::Value;

use crate::registry::store::error::StoreError;

/// The items of an answer, from the front.
#[derive(Debug)]
pub(super) struct Reply(std::vec::IntoIter<Value>);

impl Reply {
    pub(super) fn new(value: Value) -> Result<Self, StoreError> {
        match value {
            Value::Array(items) => Ok(Self(items.into_iter())),
            _ => Err(unreadable()),
        }
    }

    /// The next item, if there is one.
    pub(super) fn optional(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        match self.0.next() {
            None | Some(Value::Nil) => Ok(None),
            Some(Value::BulkString(bytes)) => Ok(Some(bytes)),
            Some(Value::SimpleString(text)) => Ok(Some(text.into_bytes())),
            Some(Value::Int(number)) => Ok(Some(number.to_string().into_bytes())),
            Some(_) => Err(unreadable()),
        }
    }

    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, StoreError> {
        self.optional()?.ok_or_else(unreadable)
    }

    pub(super) fn text(&mut self) -> Result<String, StoreError> {
        String::from_utf8(self.bytes()?).map_err(|_| unreadable())
    }

    pub(super) fn number(&mut self) -> Result<u64, StoreError> {
        self.text()?.parse().map_err(|_| unreadable())
    }

    /// The next item, which is a list.
    pub(super) fn list(&mut self) -> Result<Self, StoreError> {
        Self::new(self.0.next().ok_or_else(unreadable)?)
    }

    /// How many items are left.
    pub(super) fn left(&self) -> usize {
        self.0.len()
    }
}

pub(super) fn unreadable() -> StoreError {
    StoreError::Corrupt("it holds what this flowgate cannot read".to_owned())
}
