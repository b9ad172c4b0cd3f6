//! What must hold in every run. Each oracle is proven by planted bugs (`canaries`).

pub mod grid;
pub mod history;
pub mod private;
pub mod zones;
