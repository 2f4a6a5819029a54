//! `sec.run_ddl`: what the functions of MPS that make, archive and grant use in place of EXECUTE.

use crate::error::{Error, Token};
use crate::store::ddl;
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn run_ddl(p_statements: Option<&str>) {
    match p_statements {
        Some(statements) => ddl::run(statements),
        None => Error::new(Token::InvalidArgument, "p_statements is missing").raise(),
    }
}
