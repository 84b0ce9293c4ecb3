//! Parts of a program that work on threads of their own: each ends when it is told to, and its panic ends no other.

pub mod panics;
pub mod worker;
