//! A PostgreSQL server for tests, started from the system's package on the first call and ended with the test's process.
//!
//! Not tests themselves: those of the library, which includes this file by its path, and `shared_store.rs` are.

use ::postgres::{Client, NoTls};
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Makes and starts a server whose socket is in the folder `$1`, until nobody holds its standard input any more. PostgreSQL refuses to run
/// as root, so it then runs as the user that its package has made.
const SCRIPT: &str = r#"
set -e
for bin in /usr/lib/postgresql/*/bin; do PATH="$bin:$PATH"; done
as=""
if [ "$(id -u)" = 0 ]; then
    chown postgres "$1"
    as="setpriv --reuid=postgres --regid=postgres --init-groups"
fi
$as initdb -D "$1/data" -A trust -U postgres -E UTF8 --locale=C.UTF-8 --no-sync >"$1/log" 2>&1
$as postgres -D "$1/data" -k "$1" -c listen_addresses= -c fsync=off >>"$1/log" 2>&1 </dev/null &
cat >/dev/null || true
kill -INT $!
wait || true
rm -rf "$1"
"#;

struct Running {
    /// The socket's folder, as a host in an address.
    host: String,
    /// Holds the script's standard input.
    _keeper: Child,
}

static SERVER: OnceLock<Option<Running>> = OnceLock::new();
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// The address of an empty database; `None`, after a line that says so, where there is no PostgreSQL.
pub(crate) fn fresh() -> Option<String> {
    let server = SERVER.get_or_init(start).as_ref()?;
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("test{number}");
    let mut client = connect(&server.host, "postgres").expect("it was there before");
    let made = client.batch_execute(&format!("CREATE DATABASE {name}"));
    made.expect("a new database");
    Some(url(&server.host, &name))
}

fn start() -> Option<Running> {
    let there =
        "for bin in /usr/lib/postgresql/*/bin; do PATH=\"$bin:$PATH\"; done; command -v initdb";
    let found = Command::new("sh").args(["-c", there]).output().ok()?;
    if !found.status.success() {
        let _ = writeln!(
            std::io::stderr(),
            "skipped: there is no PostgreSQL here; Debian's package postgresql has it"
        );
        return None;
    }
    let folder = tempfile::tempdir().expect("a folder").keep();
    let keeper = Command::new("sh")
        .args(["-c", SCRIPT, "sh"])
        .arg(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell");
    let host = folder.display().to_string().replace('/', "%2F");
    let deadline = Instant::now() + Duration::from_secs(120);
    while connect(&host, "postgres").is_none() {
        let log = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
        assert!(Instant::now() < deadline, "it never answers: {}", log());
        std::thread::sleep(Duration::from_millis(50));
    }
    Some(Running {
        host,
        _keeper: keeper,
    })
}

fn url(host: &str, name: &str) -> String {
    format!("postgres://postgres@{host}/{name}")
}

fn connect(host: &str, name: &str) -> Option<Client> {
    Client::connect(&url(host, name), NoTls).ok()
}
