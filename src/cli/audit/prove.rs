//! `tenure audit prove`
