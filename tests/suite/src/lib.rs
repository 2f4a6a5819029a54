//! Tests in a database, over real connections.
