//! DuckDB in this process, through its C API.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char};
use std::ptr;

use anyhow::{Context, Result, bail, ensure};
use libduckdb_sys as duck;

use crate::host::{Column, Host, Reply, Rows};

/// A database in this process and its connections, by name.
pub struct Database {
    // Fields are dropped in this order: connections before the database.
    connections: HashMap<String, Connection>,
    instance: Option<Instance>,
    renderer: Renderer,
}

impl Database {
    /// No open database yet.
    pub fn new() -> Result<Self> {
        Ok(Self { connections: HashMap::new(), instance: None, renderer: Renderer::new()? })
    }
}

impl Host for Database {
    fn open(&mut self, path: &str, read_only: bool) -> Result<Reply> {
        self.connections.clear();
        self.instance = None;
        let opened = Instance::open(path, read_only)?;
        Ok(opened.map(|instance| {
            self.instance = Some(instance);
            Rows::default()
        }))
    }

    fn connect(&mut self, name: &str) -> Result<Reply> {
        let instance = self.instance.as_ref().context("no database is open")?;
        self.connections.insert(name.to_owned(), instance.connect()?);
        Ok(Ok(Rows::default()))
    }

    fn execute(&mut self, connection: &str, sql: &str, rows: bool) -> Result<Reply> {
        let connection = self.connections.get(connection).context("there is no connection of this name")?;
        if rows && connection.statements(sql)? > 1 {
            return Ok(Err("a query must hold exactly one statement".to_owned()));
        }
        match connection.query(sql)? {
            Err(message) => Ok(Err(message)),
            Ok(_) if !rows => Ok(Ok(Rows::default())),
            Ok(mut answer) => Ok(Ok(self.renderer.render(&mut answer)?)),
        }
    }
}

/// An open database.
struct Instance(duck::duckdb_database);

impl Instance {
    fn open(path: &str, read_only: bool) -> Result<Result<Self, String>> {
        let path = CString::new(path)?;
        let settings = [
            (c"allow_unsigned_extensions", c"true"),
            (c"autoinstall_known_extensions", c"false"),
            (c"autoload_known_extensions", c"false"),
            (c"access_mode", if read_only { c"read_only" } else { c"automatic" }),
        ];
        let mut config = ptr::null_mut();
        let mut database = ptr::null_mut();
        let mut message = ptr::null_mut();
        // SAFETY: all pointers are to local variables or NUL-terminated strings that outlive the calls; the config is
        // destroyed once, and the message, which DuckDB allocates, is freed once.
        unsafe {
            ensure!(duck::duckdb_create_config(&mut config) == duck::DuckDBSuccess, "no configuration");
            for (name, value) in settings {
                let set = duck::duckdb_set_config(config, name.as_ptr(), value.as_ptr());
                ensure!(set == duck::DuckDBSuccess, "DuckDB has no setting {name:?}");
            }
            let opened = duck::duckdb_open_ext(path.as_ptr(), &mut database, config, &mut message);
            duck::duckdb_destroy_config(&mut config);
            if opened == duck::DuckDBSuccess {
                return Ok(Ok(Self(database)));
            }
            let text = text(message);
            duck::duckdb_free(message.cast());
            Ok(Err(text))
        }
    }

    fn connect(&self) -> Result<Connection> {
        let mut connection = ptr::null_mut();
        // SAFETY: the database is open, and the pointer is to a local variable.
        let state = unsafe { duck::duckdb_connect(self.0, &mut connection) };
        ensure!(state == duck::DuckDBSuccess, "no connection to the database");
        Ok(Connection(connection))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // SAFETY: opened by `open`, closed here only.
        unsafe { duck::duckdb_close(&mut self.0) }
    }
}

/// A connection to a database; keeps it alive.
struct Connection(duck::duckdb_connection);

impl Connection {
    /// Runs statements. The inner error is DuckDB's.
    fn query(&self, sql: &str) -> Result<Result<Answer, String>> {
        let sql = CString::new(sql)?;
        // SAFETY: the connection is open; the result is written by DuckDB in any case, and destroyed by `Answer`.
        unsafe {
            let mut answer = Answer(std::mem::zeroed());
            let state = duck::duckdb_query(self.0, sql.as_ptr(), &mut answer.0);
            let failed = state != duck::DuckDBSuccess;
            Ok(if failed { Err(text(duck::duckdb_result_error(&mut answer.0))) } else { Ok(answer) })
        }
    }

    /// How many statements a text holds; 0 if it cannot be parsed.
    fn statements(&self, sql: &str) -> Result<u64> {
        let sql = CString::new(sql)?;
        let mut statements = ptr::null_mut();
        // SAFETY: the connection is open; the list is destroyed once, after its last use.
        unsafe {
            let count = duck::duckdb_extract_statements(self.0, sql.as_ptr(), &mut statements);
            duck::duckdb_destroy_extracted(&mut statements);
            Ok(count)
        }
    }

    fn run(&self, sql: &str) -> Result<Answer> {
        self.query(sql)?.map_err(anyhow::Error::msg).context("rendering a result")
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: opened by `Instance::connect`, closed here only.
        unsafe { duck::duckdb_disconnect(&mut self.0) }
    }
}

/// A result of DuckDB.
struct Answer(duck::duckdb_result);

impl Answer {
    fn columns(&mut self) -> Vec<Column> {
        // SAFETY: the result is valid, the numbers of columns are in range, and names are copied before it changes.
        unsafe {
            (0..duck::duckdb_column_count(&mut self.0))
                .map(|column| Column {
                    name: text(duck::duckdb_column_name(&mut self.0, column)),
                    type_name: type_name(duck::duckdb_column_type(&mut self.0, column)).to_owned(),
                })
                .collect()
        }
    }

    fn next_chunk(&mut self) -> Option<Chunk> {
        // SAFETY: the result is valid; the chunk belongs to the caller.
        let chunk = unsafe { duck::duckdb_fetch_chunk(self.0) };
        (!chunk.is_null()).then_some(Chunk(chunk))
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: destroyed here only.
        unsafe { duck::duckdb_destroy_result(&mut self.0) }
    }
}

/// A part of a result.
struct Chunk(duck::duckdb_data_chunk);

impl Chunk {
    /// The values of a VARCHAR column.
    fn strings(&self, column: u64) -> Vec<Option<String>> {
        // SAFETY: the column exists and is VARCHAR, so its data are `duckdb_string_t`, one for each row; where the
        // validity mask (all valid if null) says so, the string is initialized.
        unsafe {
            let vector = duck::duckdb_data_chunk_get_vector(self.0, column);
            let validity = duck::duckdb_vector_get_validity(vector);
            let strings = duck::duckdb_vector_get_data(vector).cast::<duck::duckdb_string_t>();
            (0..duck::duckdb_data_chunk_get_size(self.0))
                .map(|row| {
                    let valid = validity.is_null() || duck::duckdb_validity_row_is_valid(validity, row);
                    valid.then(|| {
                        let string = strings.add(row as usize);
                        let bytes = duck::duckdb_string_t_data(string).cast::<u8>();
                        let length = duck::duckdb_string_t_length(*string) as usize;
                        String::from_utf8_lossy(std::slice::from_raw_parts(bytes, length)).into_owned()
                    })
                })
                .collect()
        }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // SAFETY: fetched by `next_chunk`, destroyed here only.
        unsafe { duck::duckdb_destroy_data_chunk(&mut self.0) }
    }
}

/// Casts results to VARCHAR, in a database of its own, so that the tests are not affected.
struct Renderer {
    connection: Connection,
    _instance: Instance,
}

impl Renderer {
    fn new() -> Result<Self> {
        let instance = Instance::open("", false)?.map_err(anyhow::Error::msg)?;
        let connection = instance.connect()?;
        connection.run("SET threads = 1")?;
        Ok(Self { connection, _instance: instance })
    }

    /// The rows of an answer.
    fn render(&self, answer: &mut Answer) -> Result<Rows> {
        let columns = answer.columns();
        if columns.is_empty() {
            return Ok(Rows::default());
        }
        let list = |form: fn(usize) -> String| (1..=columns.len()).map(form).collect::<Vec<_>>().join(", ");
        let cells = list(|number| format!("col{number} VARCHAR"));
        self.connection.run(&format!("CREATE OR REPLACE TEMP TABLE rendered ({cells})"))?;
        let casts = list(|number| format!("CAST(col{number} AS VARCHAR)"));
        self.append(&format!("INSERT INTO rendered SELECT {casts} FROM appended_data"), answer, columns.len())?;
        let mut rendered = self.connection.run("FROM rendered")?;
        let mut rows = Rows { columns, cells: Vec::new() };
        while let Some(chunk) = rendered.next_chunk() {
            let strings: Vec<_> = (0..rows.columns.len()).map(|column| chunk.strings(column as u64)).collect();
            let count = strings.first().map_or(0, Vec::len);
            rows.cells.extend((0..count).map(|row| strings.iter().map(|column| column[row].clone()).collect()));
        }
        Ok(rows)
    }

    /// Runs a statement over the rows of an answer, which the statement knows as `appended_data` with columns `col1`, `col2`, …
    fn append(&self, sql: &str, answer: &mut Answer, columns: usize) -> Result<()> {
        let sql = CString::new(sql)?;
        let mut appender = ptr::null_mut();
        // SAFETY: the types belong to us and outlive the appender's creation, which copies them; chunks are copied when
        // they are appended; types and appender are destroyed once.
        unsafe {
            let mut types: Vec<_> =
                (0..columns).map(|column| duck::duckdb_column_logical_type(&mut answer.0, column as u64)).collect();
            let mut state = duck::duckdb_appender_create_query(
                self.connection.0,
                sql.as_ptr(),
                columns as u64,
                types.as_mut_ptr(),
                ptr::null(),
                ptr::null_mut(),
                &mut appender,
            );
            while state == duck::DuckDBSuccess
                && let Some(chunk) = answer.next_chunk()
            {
                state = duck::duckdb_append_data_chunk(appender, chunk.0);
            }
            if state == duck::DuckDBSuccess {
                state = duck::duckdb_appender_flush(appender);
            }
            let message = text(duck::duckdb_appender_error(appender));
            duck::duckdb_appender_destroy(&mut appender);
            types.iter_mut().for_each(|logical_type| duck::duckdb_destroy_logical_type(logical_type));
            if state != duck::DuckDBSuccess {
                bail!("a result cannot be shown as text: {message}");
            }
        }
        Ok(())
    }
}

/// A string of DuckDB; empty if there is none.
///
/// # Safety
/// `pointer` is null or NUL-terminated.
unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: not null, so NUL-terminated.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

/// The name of a type, without its details.
fn type_name(kind: duck::duckdb_type) -> &'static str {
    match kind {
        duck::DUCKDB_TYPE_DUCKDB_TYPE_BOOLEAN => "BOOLEAN",
        duck::DUCKDB_TYPE_DUCKDB_TYPE_TINYINT => "TINYINT",
        duck::DUCKDB_TYPE_DUCKDB_TYPE_SMALLINT => "SMALLINT",
        duck::DUCKDB_TYPE_DUCKDB_TYPE_INTEGER => "INTEGER",
        duck::DUCKDB_TYPE_DUCKDB_TYPE_BIGINT => "BIGINT",
        duck::DUCKDB_TYPE_DUCKDB_TYPE_UTINYINT => "UTINYINT",
        duck::DUCKDB_TYPE_DUCKDB_TYPE_USMALLINT => "USMALLINT",
        duck::DUCKDB_TYPE_DUCKDB_TYPE_UINTEGER => "UINTEGER",
        duck::DUCKDB_TYPE_DUCKDB_TYPE_UBIGINT => "UBIGINT",
        duck::DUCKDB_TYPE_DUCKDB_TYPE_HUGEINT => "HUGEINT",
        duck::DUCKDB_TYPE_DUCKDB_TYPE_UHUGEINT => "UHUGEINT",
        duck::DUCKDB_TYPE_DUCKDB_TYPE_BIGNUM => "BIGNUM",
        duck::DUCKDB_TYPE_DUCKDB_TYPE_DECIMAL => "DECIMAL",
        duck::DUCKDB_TYPE_DUCKDB_TYPE_FLOAT => "FLOAT",
        duck::DUCKDB_TYPE_DUCKDB_TYPE_DOUBLE => "DOUBLE",
        duck::DUCKDB_TYPE_DUCKDB_TYPE_VARCHAR => "VARCHAR",
        duck::DUCKDB_TYPE_DUCKDB_TYPE_ARRAY => "ARRAY",
        duck::DUCKDB_TYPE_DUCKDB_TYPE_LIST => "LIST",
        duck::DUCKDB_TYPE_DUCKDB_TYPE_STRUCT => "STRUCT",
        duck::DUCKDB_TYPE_DUCKDB_TYPE_MAP => "MAP",
        _ => "other",
    }
}
