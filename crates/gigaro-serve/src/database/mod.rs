//! One set of statements for two databases: a SQLite file, or a PostgreSQL server where one file is outgrown.
//!
//! Statements are written once, with parameters `?1`, `?2` .. and types that both know: `i64`, text, and truth values that come out.
//! Where the two really differ, as in making tables and searching, a caller asks [`Database::dialect`]. What goes wrong comes as a
//! [`Fault`]: a sentence with the place. How a server is reached is in `server.rs`; SQLite files are gigaro-data's.

mod server;
#[cfg(test)]
#[path = "../../tests/postgres/mod.rs"]
pub(crate) mod testing;

use gigaro_data::sqlite::{Fill, Problem, StoreKind};
use rusqlite::types::Type;
use server::Server;
use std::path::Path;

/// Which of the two it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

/// What a store is made of in either database.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    /// In a file.
    pub(crate) sqlite: StoreKind,
    /// On a server: makes the tables where they are not there yet.
    pub(crate) postgres: &'static str,
}

/// Why a database could not be read or changed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{place}: {problem}; {advice}")]
pub(crate) struct Fault {
    /// The file, or the server without its password.
    pub(crate) place: String,
    /// What is wrong.
    pub(crate) problem: String,
    /// What to do.
    pub(crate) advice: &'static str,
}

/// What a statement or a row could not do, before it is known where.
#[derive(Debug)]
pub(crate) enum Refusal {
    Sqlite(rusqlite::Error),
    Postgres(postgres::Error),
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Refusal {
        Refusal::Sqlite(error)
    }
}

impl From<postgres::Error> for Refusal {
    fn from(error: postgres::Error) -> Refusal {
        Refusal::Postgres(error)
    }
}

/// A value that a statement is given.
pub(crate) trait Param {
    fn sqlite(&self) -> &dyn rusqlite::ToSql;
    fn postgres(&self) -> &(dyn postgres::types::ToSql + Sync);
}

impl<T: rusqlite::ToSql + postgres::types::ToSql + Sync> Param for T {
    fn sqlite(&self) -> &dyn rusqlite::ToSql {
        self
    }

    fn postgres(&self) -> &(dyn postgres::types::ToSql + Sync) {
        self
    }
}

/// A row of what a statement gives.
pub(crate) enum Row<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    Postgres(&'a postgres::Row),
}

impl Row<'_> {
    /// The value of a column.
    pub(crate) fn get<T>(&self, column: usize) -> Result<T, Refusal>
    where
        T: rusqlite::types::FromSql + for<'b> postgres::types::FromSql<'b>,
    {
        Ok(match self {
            Row::Sqlite(row) => row.get(column)?,
            Row::Postgres(row) => row.try_get(column)?,
        })
    }

    /// The text of a column as something else; `None` for no text.
    pub(crate) fn parsed<T, E>(
        &self,
        column: usize,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Refusal>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let text: Option<String> = self.get(column)?;
        let parsed = text.map(|text| parse(&text)).transpose();
        // Both databases' columns are the same text; rusqlite has an error for one that means nothing.
        parsed.map_err(|error| {
            Refusal::Sqlite(rusqlite::Error::FromSqlConversionFailure(
                column,
                Type::Text,
                error.into(),
            ))
        })
    }
}

/// An open database.
pub(crate) struct Database {
    link: Link,
    form: Form,
    place: String,
    /// Inside [`Database::change`]: the link must not be made anew unnoticed.
    changing: bool,
}

enum Link {
    Sqlite(rusqlite::Connection),
    Postgres(Box<Server>),
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Database {
    /// Opens a file, or a server named by `postgres://USER@HOST/NAME`; a file is made if `create` says so. Tables on a server are made
    /// where they are not there yet.
    pub(crate) fn open(place: &Path, form: Form, create: bool) -> Result<Database, Fault> {
        if let Some(url) = server_url(place) {
            let server = Server::open(url, form.postgres)?;
            return Ok(Database {
                place: server.place().to_owned(),
                link: Link::Postgres(Box::new(server)),
                form,
                changing: false,
            });
        }
        let nothing: &Fill<'_> = &|_| Ok(());
        let opened = form.sqlite.open(place, create.then_some(nothing));
        let name = place.display().to_string();
        let connection = opened.map_err(|problem| fault(&name, problem))?;
        Ok(Database {
            link: Link::Sqlite(connection),
            form,
            place: name,
            changing: false,
        })
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match self.link {
            Link::Sqlite(_) => Dialect::Sqlite,
            Link::Postgres(_) => Dialect::Postgres,
        }
    }

    /// The file, or the server without its password.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// All rows that a statement gives.
    pub(crate) fn rows<T>(
        &mut self,
        statement: &str,
        values: &[&dyn Param],
        mut read: impl FnMut(&Row<'_>) -> Result<T, Refusal>,
    ) -> Result<Vec<T>, Fault> {
        let changing = self.changing;
        let found = match &mut self.link {
            Link::Sqlite(connection) => sqlite_rows(connection, statement, values, &mut read),
            Link::Postgres(server) => server.rows(statement, values, changing, &mut read),
        };
        found.map_err(|refusal| self.fault(&refusal))
    }

    /// The first row that a statement gives, if it gives any.
    pub(crate) fn row<T>(
        &mut self,
        statement: &str,
        values: &[&dyn Param],
        read: impl FnMut(&Row<'_>) -> Result<T, Refusal>,
    ) -> Result<Option<T>, Fault> {
        Ok(self.rows(statement, values, read)?.into_iter().next())
    }

    /// Carries a statement out; gives how many rows it changed.
    pub(crate) fn execute(
        &mut self,
        statement: &str,
        values: &[&dyn Param],
    ) -> Result<usize, Fault> {
        let changing = self.changing;
        let done = match &mut self.link {
            Link::Sqlite(connection) => {
                let values: Vec<&dyn rusqlite::ToSql> = values.iter().map(|v| v.sqlite()).collect();
                let statement = connection.prepare_cached(statement);
                statement
                    .and_then(|mut s| s.execute(&values[..]))
                    .map_err(Refusal::from)
            }
            Link::Postgres(server) => server.execute(statement, values, changing),
        };
        done.map_err(|refusal| self.fault(&refusal))
    }

    /// Carries out statements without values.
    pub(crate) fn batch(&mut self, statements: &str) -> Result<(), Fault> {
        let changing = self.changing;
        let done = match &mut self.link {
            Link::Sqlite(connection) => connection.execute_batch(statements).map_err(Refusal::from),
            Link::Postgres(server) => server.batch(statements, changing),
        };
        done.map_err(|refusal| self.fault(&refusal))
    }

    /// One transaction: all that `work` changes, or nothing of it. A SQLite file is held from its start, so that what is read is what
    /// is changed.
    pub(crate) fn change<T, E: From<Fault>>(
        &mut self,
        work: impl FnOnce(&mut Database) -> Result<T, E>,
    ) -> Result<T, E> {
        self.batch(match self.link {
            Link::Sqlite(_) => "BEGIN IMMEDIATE",
            Link::Postgres(_) => "BEGIN",
        })?;
        self.changing = true;
        // Also a panic takes everything back.
        let open = Open(self);
        let done = work(open.0)?;
        open.0.batch("COMMIT")?;
        open.0.changing = false;
        Ok(done)
    }

    fn fault(&self, refusal: &Refusal) -> Fault {
        let problem = match refusal {
            Refusal::Sqlite(error) => self.form.sqlite.refusal(error),
            Refusal::Postgres(error) => server::problem(error),
        };
        fault(&self.place, problem)
    }
}

/// A transaction that is taken back unless it was completed.
struct Open<'a>(&'a mut Database);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if self.0.changing {
            // If not even this is possible the connection is gone, and the change with it.
            let _ = self.0.batch("ROLLBACK");
            self.0.changing = false;
        }
    }
}

/// The address of a server, if `place` is one.
pub(crate) fn server_url(place: &Path) -> Option<&str> {
    let text = place.to_str()?;
    let is_url = text.starts_with("postgres://") || text.starts_with("postgresql://");
    is_url.then_some(text)
}

/// A text that both databases can hold: PostgreSQL has none with a zero in it.
pub(crate) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn fault(place: &str, Problem { problem, advice }: Problem) -> Fault {
    Fault {
        place: place.to_owned(),
        problem,
        advice,
    }
}

fn sqlite_rows<T>(
    connection: &rusqlite::Connection,
    statement: &str,
    values: &[&dyn Param],
    read: &mut impl FnMut(&Row<'_>) -> Result<T, Refusal>,
) -> Result<Vec<T>, Refusal> {
    let values: Vec<&dyn rusqlite::ToSql> = values.iter().map(|value| value.sqlite()).collect();
    let mut statement = connection.prepare_cached(statement)?;
    let mut rows = statement.query(&values[..])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(&Row::Sqlite(row))?);
    }
    Ok(found)
}
