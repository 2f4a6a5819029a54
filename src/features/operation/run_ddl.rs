//! `sec.run_ddl`: what the functions of MPS that make, archive and grant use in place of EXECUTE.

use crate::engine::ddl;
use crate::engine::server::Raise;
use mps_domain::error::{Error, Token};
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn run_ddl(p_statements: Option<&str>) {
    match p_statements {
        Some(statements) => ddl::run(statements),
        None => Error::new(Token::InvalidArgument, "p_statements is missing").raise(),
    }
}
