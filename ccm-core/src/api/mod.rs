//! The wire types of the HTTP API, shared by server and clients.
