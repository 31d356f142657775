//! The functions and rules of `supabase/migrations`, in SQL.

mod access;
mod conflicts;
mod devices;
mod leases;
mod owners;
mod pull;
mod push;
mod together;
