//! Serves a volume without a cluster, for measuring the data path by itself: every proposal is
//! granted and the leases never end. `reactor DIR REPLICAS SIZE_MIB`; ends with its input.

#[path = "../tests/reactor/paper.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod paper;

use std::io::Read;
use std::path::Path;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(dir), Some(replicas), Some(size)) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        eprintln!("usage: reactor DIR REPLICAS SIZE_MIB");
        std::process::exit(2);
    };
    let (Ok(replicas), Ok(size)) = (replicas.parse(), size.parse::<u64>()) else {
        eprintln!("REPLICAS and SIZE_MIB are numbers");
        std::process::exit(2);
    };
    let nodes = paper::Nodes::start(Path::new(&dir), replicas, size << 20);
    for node in 0..=usize::from(replicas) {
        println!("{}", nodes.uri(node));
    }
    // Until whoever started it goes away.
    std::io::stdin().read_to_end(&mut Vec::new()).ok();
    nodes.stop();
}
