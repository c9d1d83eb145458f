//! What ends by itself: values, counters, leases.

use super::Redis;
use super::scripts::{
    ACQUIRE, Arguments, COUNT, GET_EXPIRING, PUT_EXPIRING, RELEASE, TAKE_EXPIRING,
};
use crate::registry::store::error::StoreError;

impl Redis {
    pub(in super::super) async fn put_expiring(
        &self,
        key: &str,
        value: &[u8],
        ttl_ms: u64,
    ) -> Result<(), StoreError> {
        let arguments = Arguments::default().text(key).bytes(value.to_vec()).number(ttl_ms);
        self.change(&PUT_EXPIRING, arguments, None).await.map(|_| ())
    }

    pub(in super::super) async fn get_expiring(
        &self,
        key: &str,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(&GET_EXPIRING, Arguments::default().text(key)).await?.reply.optional()
    }

    pub(in super::super) async fn take_expiring(
        &self,
        key: &str,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.change(&TAKE_EXPIRING, Arguments::default().text(key), None).await?.reply.optional()
    }

    pub(in super::super) async fn count(
        &self,
        key: &str,
        window_ms: u64,
    ) -> Result<u64, StoreError> {
        let arguments = Arguments::default().text(key).number(window_ms);
        self.change(&COUNT, arguments, None).await?.reply.number()
    }

    pub(in super::super) async fn acquire(
        &self,
        name: &str,
        holder: &str,
        ttl_ms: u64,
    ) -> Result<Option<u64>, StoreError> {
        let arguments = Arguments::default().text(name).text(holder).number(ttl_ms);
        let mut reply = self.change(&ACQUIRE, arguments, None).await?.reply;
        if reply.left() == 0 { Ok(None) } else { reply.number().map(Some) }
    }

    pub(in super::super) async fn release(
        &self,
        name: &str,
        holder: &str,
    ) -> Result<(), StoreError> {
        let arguments = Arguments::default().text(name).text(holder);
        self.change(&RELEASE, arguments, None).await.map(|_| ())
    }
}
