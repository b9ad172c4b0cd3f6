//! Answers wait for the lease; they are never errors.

use std::io::ErrorKind;
use std::time::Duration;

use crate::paper::Nodes;
use crate::raw::{Raw, Reply};
use crate::{MIB, dir, rest};

#[test]
fn without_a_lease_nothing_is_answered_and_with_one_everything_is() {
    let dir = dir();
    let nodes = Nodes::start(dir.path(), 1, 32 * MIB);
    let (mut raw, _) = Raw::open(nodes.socket(0));
    raw.send(&Raw::header(0, 0, 1, 0, 512));
    assert_eq!(
        raw.reply(),
        Reply {
            errno: 0,
            cookie: 1
        }
    );
    raw.take::<512>();

    nodes.lease(0, false);
    let mut bytes = Raw::header(1, 0, 2, 4096, 4096);
    bytes.extend([7; 4096]);
    bytes.extend(Raw::header(0, 0, 3, 0, 512));
    bytes.extend(Raw::header(3, 0, 4, 0, 0));
    raw.send(&bytes);
    raw.0
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let silence = std::io::Read::read(&mut raw.0, &mut [0; 1]).unwrap_err();
    assert_eq!(silence.kind(), ErrorKind::WouldBlock);

    nodes.lease(0, true);
    raw.0
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let mut cookies = Vec::new();
    for _ in 0..3 {
        let reply = raw.reply();
        assert_eq!(reply.errno, 0);
        if reply.cookie == 3 {
            raw.take::<512>();
        }
        cookies.push(reply.cookie);
    }
    cookies.sort_unstable();
    assert_eq!(cookies, [2, 3, 4]);
    rest(&nodes, 0);
    nodes.stop();
}
