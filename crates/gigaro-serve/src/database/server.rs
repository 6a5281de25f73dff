//! A PostgreSQL server: how it is reached, reached again, and what its refusals mean.
//!
//! Tables stand in a schema of their own, `gigaro`, so that the database may hold other things too. A connection that was lost, as when the
//! server is restarted, is made anew by the next statement, but never inside a transaction. There is no TLS to it: it belongs into the same
//! private network, or behind a proxy that has TLS.

use super::{Fault, Param, Refusal, Row};
use gigaro_data::sqlite::Problem;
use postgres::config::Host;
use postgres::error::SqlState;
use postgres::types::ToSql;
use postgres::{Client, Config, NoTls};
use std::error::Error as _;
use std::time::Duration;

/// How long to wait for a connection.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where a password is looked for that the address does not have, as PostgreSQL's own programs do.
const PASSWORD: &str = "PGPASSWORD";
/// Held while tables are made, so that two servers that start at once do not both make them. The number is only ours: `gigaro` in ASCII.
const MAKING: &str = "SELECT pg_advisory_xact_lock(113770996720239)";

/// A server and a connection to it.
pub(super) struct Server {
    config: Config,
    client: Client,
    place: String,
}

impl Server {
    /// Connects to the server at `url` and makes `tables` there, where they are not yet.
    pub(super) fn open(url: &str, tables: &str) -> Result<Server, Fault> {
        // The address may hold a password, so it is not repeated.
        let wrong = |problem: String, advice| Fault {
            place: "the PostgreSQL server".to_owned(),
            problem,
            advice,
        };
        let mut config: Config = url.parse().map_err(|_| {
            wrong(
                "its address cannot be read".to_owned(),
                "give postgres://USER@HOST:PORT/NAME, and the password in PGPASSWORD",
            )
        })?;
        if config.get_password().is_none()
            && let Ok(password) = std::env::var(PASSWORD)
        {
            config.password(password);
        }
        config.connect_timeout(PATIENCE).application_name("gigaro");
        let place = place(&config);
        let refused = |error: &postgres::Error| {
            let Problem { problem, advice } = problem(error);
            Fault {
                place: place.clone(),
                problem,
                advice,
            }
        };
        let mut client = connect(&config).map_err(|error| refused(&error))?;
        let make = format!("BEGIN; {MAKING}; CREATE SCHEMA IF NOT EXISTS gigaro; {tables}; COMMIT");
        client
            .batch_execute(&make)
            .map_err(|error| refused(&error))?;
        Ok(Server {
            config,
            client,
            place,
        })
    }

    /// The server without its password.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(super) fn rows<T>(
        &mut self,
        statement: &str,
        values: &[&dyn Param],
        changing: bool,
        read: &mut impl FnMut(&Row<'_>) -> Result<T, Refusal>,
    ) -> Result<Vec<T>, Refusal> {
        let values: Vec<&(dyn ToSql + Sync)> =
            values.iter().map(|value| value.postgres()).collect();
        let found = self
            .client(changing)?
            .query(&numbered(statement), &values)?;
        found.iter().map(|row| read(&Row::Postgres(row))).collect()
    }

    pub(super) fn execute(
        &mut self,
        statement: &str,
        values: &[&dyn Param],
        changing: bool,
    ) -> Result<usize, Refusal> {
        let values: Vec<&(dyn ToSql + Sync)> =
            values.iter().map(|value| value.postgres()).collect();
        let changed = self
            .client(changing)?
            .execute(&numbered(statement), &values)?;
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }

    pub(super) fn batch(&mut self, statements: &str, changing: bool) -> Result<(), Refusal> {
        Ok(self.client(changing)?.batch_execute(statements)?)
    }

    fn client(&mut self, changing: bool) -> Result<&mut Client, Refusal> {
        if self.client.is_closed() && !changing {
            self.client = connect(&self.config)?;
        }
        Ok(&mut self.client)
    }
}

fn connect(config: &Config) -> Result<Client, postgres::Error> {
    let mut client = config.connect(NoTls)?;
    // The schema may not be there yet; a path may name it all the same. `public` has the operators of extensions.
    client.batch_execute("SET search_path TO gigaro, public")?;
    Ok(client)
}

fn place(config: &Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        #[cfg(unix)]
        Some(Host::Unix(folder)) => folder.display().to_string(),
        None => "localhost".to_owned(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let name = config
        .get_dbname()
        .or(config.get_user())
        .unwrap_or_default();
    format!("the PostgreSQL database {name:?} on {host}:{port}")
}

/// PostgreSQL counts with a dollar. No statement of ours has a question mark for anything else.
fn numbered(statement: &str) -> String {
    statement.replace('?', "$")
}

/// What an error of a server means.
pub(super) fn problem(error: &postgres::Error) -> Problem {
    let Some(said) = error.as_db_error() else {
        let why = error
            .source()
            .map_or_else(|| error.to_string(), |why| why.to_string());
        return Problem {
            problem: format!("the database server cannot be reached ({why})"),
            advice: "check that it runs, its address, and the network between",
        };
    };
    let message = said.message();
    let code = said.code();
    let of = |problem: String, advice| Problem { problem, advice };
    if [
        SqlState::INVALID_PASSWORD,
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
    ]
    .contains(code)
    {
        return of(
            format!("it does not let this user in ({message})"),
            "check user and password (PGPASSWORD)",
        );
    }
    if *code == SqlState::INVALID_CATALOG_NAME {
        return of(
            format!("it has no such database ({message})"),
            "make it with createdb",
        );
    }
    if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        return of(
            format!("this user may not do that ({message})"),
            "give it the right to make a schema in this database, or make the schema gigaro for it",
        );
    }
    if *code == SqlState::DISK_FULL {
        return of(
            "its disk is full".to_owned(),
            "free some space; what was stored before is kept",
        );
    }
    of(
        format!("it refuses ({message}, code {})", code.code()),
        "look into its log",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_in_no_message() {
        let refused = Server::open("postgres://ann:sesame@127.0.0.1:1/chats", "").err();
        let said = refused.expect("nothing listens there").to_string();
        assert!(said.contains("\"chats\" on 127.0.0.1:1"), "{said}");
        assert!(said.contains("cannot be reached"), "{said}");
        let unread = Server::open("postgres://ann:sesame@[x/chats", "").err();
        let unread = unread.expect("no address").to_string();
        assert!(unread.contains("cannot be read"), "{unread}");
        assert!(!said.contains("sesame") && !unread.contains("sesame"));
    }
}
