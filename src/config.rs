//! Temporary.
/// Net
#[derive(Clone, Debug)]
pub struct Network;
impl Network {
    /// Contains
    pub fn contains(&self, _: std::net::IpAddr) -> bool { false }
}
