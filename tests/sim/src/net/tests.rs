use super::*;
use crate::queue::SECOND;
use steadfast::types::Seq;

const WEATHER: Weather = Weather {
    loss: 0,
    double: 0,
    delay: 50 * MICRO,
    late: 0,
};

fn frame(number: u64) -> Item {
    Item::Frame {
        frame: Frame::Watermark {
            stable: Seq(number),
            flushed: Seq(0),
        },
        payload: None,
        sent: 0,
    }
}

fn open(seed: u64) -> (Network, u32) {
    let mut net = Network::new(2, WEATHER, Random::new(seed));
    let end = |node| End {
        node: NodeId(node),
        run: 1,
        id: LinkId(0),
    };
    let (link, _) = net.open([end(0), end(1)], Incarnation(1), 0);
    (net, link)
}

/// Everything that arrives in a direction, until nothing more does.
fn drain(net: &mut Network, link: u32, side: usize) -> Vec<Item> {
    let mut items = Vec::new();
    let mut now = SECOND;
    while net.link(link).is_some() {
        let (item, arm) = net.arrive(link, side, now);
        now += MILLI;
        items.extend(item);
        if arm.is_none() {
            break;
        }
    }
    items
}

#[test]
fn a_link_keeps_order_and_loses_only_the_end() {
    let mut lost = 0;
    for seed in 0..100 {
        let (mut net, link) = open(seed);
        for number in 0..10 {
            net.push(link, 0, frame(number), number * MICRO);
        }
        net.reset(link, 20 * MICRO, [0, 0]);
        net.push(link, 0, frame(99), 30 * MICRO);
        let items = drain(&mut net, link, 0);
        assert!(matches!(items.last(), Some(Item::Down)));
        let frames: Vec<_> = items
            .iter()
            .filter_map(|item| match item {
                Item::Frame {
                    frame: Frame::Watermark { stable, .. },
                    ..
                } => Some(stable.0),
                _ => None,
            })
            .collect();
        assert_eq!(frames, (0..frames.len() as u64).collect::<Vec<_>>());
        lost += 10 - frames.len();
    }
    assert!(lost > 100);
}

#[test]
fn a_cut_holds_a_link_up_and_drops_datagrams() {
    let (mut net, link) = open(1);
    net.push(link, 0, frame(1), 0);
    net.cut(NodeId(0), NodeId(1), true);
    assert_eq!(net.datagram(NodeId(0), NodeId(1), 0), [None; 2]);
    let (item, arm) = net.arrive(link, 0, SECOND);
    assert!(item.is_none() && arm.is_some());
    net.cut(NodeId(0), NodeId(1), false);
    assert_eq!(drain(&mut net, link, 0).len(), 2);
}
