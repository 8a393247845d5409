//! The client: one connection for each process and server, shared by all threads and tasks (N7).

mod session;
