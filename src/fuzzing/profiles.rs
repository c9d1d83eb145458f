//! Profiles files: read, imported, exported, imported again.

use std::io::Cursor;
use std::sync::OnceLock;

use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use crate::clock::Wall;
use crate::registry::import::{Imported, export, import};
use crate::registry::profiles::check;
use crate::registry::store::embedded::Settings;
use crate::registry::store::{Embedded, Store};

const FAULTS_MAX: usize = 100;
/// A shorter text may stand in a fault for another reason.
const SECRET_BYTES_MIN: usize = 12;

/// Made once: a runtime per input would be most of the work.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
    })
}

fn new_store(wall: &Wall) -> Store {
    let settings = Settings { wall: wall.clone(), ..Settings::default() };
    let opened = runtime().block_on(Embedded::open("memory:", settings));
    Store::from(opened.expect("a store in memory"))
}

fn import_into(store: &Store, wall: &Wall, text: &[u8]) -> Result<Imported, String> {
    let handle = runtime().handle();
    let done = import(store, wall, handle, Cursor::new(text), false, None, |_, _| {});
    done.map_err(|error| error.to_string())
}

fn export_of(store: &Store) -> Vec<u8> {
    let mut out = Vec::new();
    export(store, runtime().handle(), &mut out).expect("what was imported can be exported");
    out
}

/// Texts that stand where secrets do, and nowhere else in the file.
fn secrets(file: &Value, text: &str) -> Vec<String> {
    let tenants = file["tenants"].as_array().into_iter().flatten();
    let fields = tenants.flat_map(|it| [&it["password"], &it["api_key"]]);
    fields
        .filter_map(Value::as_str)
        .filter(|secret| secret.len() >= SECRET_BYTES_MIN && text.matches(secret).count() == 1)
        .map(str::to_owned)
        .collect()
}

fn has_passwords(file: &Value) -> bool {
    let mut tenants = file["tenants"].as_array().into_iter().flatten();
    tenants.any(|tenant| !tenant["password"].is_null())
}

/// Whatever stands in a file: its faults repeat no secret, and what has none can be imported, and
/// comes out as it went in.
pub fn profiles(data: &[u8]) {
    let checked = check(data, |_| false, |_| Ok(()));
    let (file, text) = (serde_json::from_slice::<Value>(data), String::from_utf8_lossy(data));
    let contents = match checked {
        Ok(contents) => contents,
        Err(faults) => {
            assert!(!faults.0.is_empty() && faults.0.len() <= FAULTS_MAX + 1);
            for secret in file.iter().flat_map(|file| secrets(file, &text)) {
                assert!(!faults.to_string().contains(&secret), "a fault repeats a secret");
            }
            return;
        }
    };
    let file = file.expect("a good file is JSON");
    // Each would be hashed, which takes a tenth of a second.
    if has_passwords(&file) {
        return;
    }
    let wall = Wall::stopped_at(1_790_000_000_000);
    let first = new_store(&wall);
    let done = match import_into(&first, &wall, data) {
        Ok(done) => done,
        // What is good in itself may still be too large for a store.
        Err(why) => return assert!(why.contains("more than can be stored"), "{why}"),
    };
    assert_eq!(done.created, contents.tenants);
    let again = import_into(&first, &wall, data).expect("an import can be repeated");
    assert_eq!((again.created, again.left_alone), (0, contents.tenants));
    let exported = export_of(&first);
    let second = new_store(&wall);
    let done = import_into(&second, &wall, &exported).expect("an export can be imported");
    assert_eq!(done.created, contents.tenants);
    assert_eq!(sorted(&export_of(&second)), sorted(&exported));
}

/// By name: a registry's own order is that of its random ids.
fn sorted(text: &[u8]) -> Value {
    let mut file: Value = serde_json::from_slice(text).expect("an export is JSON");
    if let Some(tenants) = file["tenants"].as_array_mut() {
        tenants.sort_by_key(|tenant| tenant["username"].to_string());
    }
    file
}
