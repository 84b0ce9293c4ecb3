//! Parts of a program that work on threads of their own: each ends on request, and its panic ends no other.

pub mod panics;
pub mod parallel;
pub mod priority;
pub mod worker;
