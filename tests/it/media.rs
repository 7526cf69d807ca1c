//! The media subjects and the recordings, against a real nats-server.

use std::time::Duration;

use bytes::Bytes;
use events::{CallId, JobId, TenantId};
use nats::Nats;
use nats::media::{AudioFormat, CloseReason, Down, Media, SocketSide, SocketState, Up, WorkerSide};
use nats::recordings::{PAGE, Recordings, Segment};
use tests::World;

const LIMIT: Duration = Duration::from_secs(30);

async fn both_ends(media: &Media, call_id: CallId, attempt: u32) -> (SocketSide, WorkerSide) {
    (media.socket(call_id).await.unwrap(), media.worker(call_id, attempt).await.unwrap())
}

/// The server answers this connection, so it knows of every subscription that was made on it before.
async fn subscribed(nats: &Nats) {
    nats.recordings.last(TenantId::new(), CallId::new()).await.unwrap();
}

async fn heard<T>(next: impl Future<Output = Option<T>>) -> T {
    tokio::time::timeout(LIMIT, next).await.unwrap().unwrap()
}

#[tokio::test]
async fn socket_and_worker_of_a_call_hear_each_other_in_order_and_nobody_else() {
    let world = World::services().await;
    let (here, there) = (world.connect().await, world.connect().await);
    let (call_id, other_call_id) = (CallId::new(), CallId::new());
    let mut socket = here.nats.media.socket(call_id).await.unwrap();
    let mut worker = there.nats.media.worker(call_id, 2).await.unwrap();
    let (other_socket, other_worker) = both_ends(&here.nats.media, other_call_id, 1).await;
    subscribed(&here.nats).await;
    subscribed(&there.nats).await;

    other_socket.send(&Up::EndOfUtterance).await.unwrap();
    let state =
        SocketState { format: AudioFormat::Pcm16k, next_frame: 1, first_kept_frame: 0, playback: None };
    let frame = Bytes::from(vec![7; AudioFormat::Pcm16k.bytes_per_frame()]);
    let said = [
        Up::State(state),
        Up::Audio { frame: 0, data: frame.clone() },
        Up::Closed { reason: CloseReason::HungUp },
    ];
    for up in &said {
        socket.send(up).await.unwrap();
    }
    for up in said {
        assert_eq!(heard(worker.next()).await, up);
    }

    other_worker.send(&Down::Hello { worker_id: "other".to_owned() }).await.unwrap();
    let said = [
        Down::Hello { worker_id: "host:1".to_owned() },
        Down::Begin { generation: 1, job_id: JobId::new() },
        Down::Audio { generation: 1, data: frame },
        Down::Finish { generation: 1 },
    ];
    for down in &said {
        worker.send(down).await.unwrap();
    }
    for down in said {
        assert_eq!(heard(socket.next()).await, (2, down));
    }
}

#[tokio::test]
async fn ends_of_one_process_need_no_server_until_a_worker_elsewhere_takes_the_call_over() {
    let world = World::services().await;
    let (here, there) = (world.connect().await, world.connect().await);
    let call_id = CallId::new();
    let mut elsewhere = there.nats.media.worker(call_id, 3).await.unwrap();
    subscribed(&there.nats).await;
    let (mut socket, mut worker) = both_ends(&here.nats.media, call_id, 2).await;
    let hello = |worker_id: &str| Down::Hello { worker_id: worker_id.to_owned() };
    let audio = |frame| Up::Audio { frame, data: Bytes::from_static(&[0xff; 160]) };
    let state = Up::State(SocketState {
        format: AudioFormat::Mulaw8k,
        next_frame: 0,
        first_kept_frame: 0,
        playback: None,
    });

    worker.send(&hello("here")).await.unwrap();
    assert_eq!(heard(socket.next()).await, (2, hello("here")));
    for up in [audio(0), state.clone()] {
        socket.send(&up).await.unwrap();
        assert_eq!(heard(worker.next()).await, up);
    }
    assert_eq!(heard(elsewhere.next()).await, state, "audio passed by the server, the state did not");

    elsewhere.send(&hello("elsewhere")).await.unwrap();
    assert_eq!(heard(socket.next()).await, (3, hello("elsewhere")));
    // Who was late to say hello has not taken the call back.
    worker.send(&hello("here")).await.unwrap();
    assert_eq!(heard(socket.next()).await, (2, hello("here")));
    for up in [audio(1), audio(2)] {
        socket.send(&up).await.unwrap();
        assert_eq!(heard(elsewhere.next()).await, up);
        assert_eq!(heard(worker.next()).await, up, "once, though it went both ways");
    }

    // The carrier's next socket is over there: what is said to it passes by the server, and the old one hears nothing.
    let mut next = there.nats.media.socket(call_id).await.unwrap();
    next.send(&state).await.unwrap();
    assert_eq!(heard(elsewhere.next()).await, state);
    let clear = Down::Clear { generation: 1 };
    for down in [clear.clone(), hello("elsewhere")] {
        elsewhere.send(&down).await.unwrap();
        assert_eq!(heard(next.next()).await, (3, down));
    }
    assert_eq!(heard(socket.next()).await, (3, hello("elsewhere")));
}

fn segment(index: u32) -> Segment {
    Segment { index, offset_ms: u64::from(index) * 2_000, data: Bytes::from(vec![index as u8; 1_000]) }
}

async fn whole(recordings: &Recordings, tenant_id: TenantId, call_id: CallId) -> Vec<Segment> {
    let (mut segments, mut after) = (Vec::new(), Some(0));
    while let Some(from) = after {
        let page = recordings.read(tenant_id, call_id, from).await.unwrap();
        assert!(page.segments.len() <= PAGE);
        segments.extend(page.segments);
        after = page.next;
    }
    segments
}

#[tokio::test]
async fn a_recording_is_read_page_by_page_in_the_order_it_was_written() {
    const SEGMENTS: u32 = 2 * PAGE as u32 + 3;
    let world = World::services().await;
    let recordings = world.connect().await.nats.recordings;
    let (tenant_id, call_id, other) = (TenantId::new(), CallId::new(), CallId::new());
    for index in 0..SEGMENTS {
        recordings.append(tenant_id, call_id, &segment(index)).await.unwrap();
        recordings.append(tenant_id, other, &segment(index + 100)).await.unwrap();
    }
    let read = whole(&recordings, tenant_id, call_id).await;
    assert_eq!(read, (0..SEGMENTS).map(segment).collect::<Vec<_>>());
    assert_eq!(whole(&recordings, tenant_id, CallId::new()).await, []);
    assert_eq!(whole(&recordings, TenantId::new(), call_id).await, [], "another tenant's");
}

#[tokio::test]
async fn a_segment_is_found_among_those_of_others_and_where_it_is_missing_the_next_one() {
    let world = World::services().await;
    let recordings = world.connect().await.nats.recordings;
    let (tenant_id, call_id, other) = (TenantId::new(), CallId::new(), CallId::new());
    let written = [0, 1, 2, 5, 6, 9];
    for index in written {
        for more in 0..index {
            recordings.append(tenant_id, other, &segment(100 * index + more)).await.unwrap();
        }
        recordings.append(tenant_id, call_id, &segment(index)).await.unwrap();
    }
    let (last, found) = recordings.last(tenant_id, call_id).await.unwrap().unwrap();
    assert_eq!(found, segment(9));
    recordings.append(tenant_id, other, &segment(1_000)).await.unwrap();
    for index in 0..=10 {
        let after = recordings.place_of(tenant_id, call_id, index, last).await.unwrap();
        let page = recordings.read(tenant_id, call_id, after).await.unwrap();
        let expected = written.into_iter().find(|written| *written >= index);
        assert_eq!(page.segments.first().map(|segment| segment.index), expected, "{index}");
    }
    assert_eq!(recordings.last(tenant_id, CallId::new()).await.unwrap(), None);
    assert_eq!(recordings.last(TenantId::new(), call_id).await.unwrap(), None, "another tenant's");
}

#[tokio::test]
async fn a_segment_written_twice_stands_once() {
    let world = World::services().await;
    let recordings = world.connect().await.nats.recordings;
    let (tenant_id, call_id) = (TenantId::new(), CallId::new());
    for index in [0, 0, 1, 0] {
        recordings.append(tenant_id, call_id, &segment(index)).await.unwrap();
    }
    assert_eq!(whole(&recordings, tenant_id, call_id).await, [segment(0), segment(1)]);
}

#[tokio::test]
async fn a_deleted_recording_is_gone_and_no_other_with_it() {
    let world = World::services().await;
    let recordings = world.connect().await.nats.recordings;
    let (tenant_id, call_id, other) = (TenantId::new(), CallId::new(), CallId::new());
    for call_id in [call_id, other] {
        recordings.append(tenant_id, call_id, &segment(0)).await.unwrap();
    }
    recordings.delete(tenant_id, call_id).await.unwrap();
    recordings.delete(tenant_id, call_id).await.unwrap();
    assert_eq!(whole(&recordings, tenant_id, call_id).await, []);
    assert_eq!(whole(&recordings, tenant_id, other).await, [segment(0)]);
}

#[tokio::test]
async fn a_segment_that_no_message_can_hold_is_an_error() {
    let world = World::services().await;
    let recordings = world.connect().await.nats.recordings;
    let data = Bytes::from(vec![0; 2 * 1_024 * 1_024]);
    let written =
        recordings.append(TenantId::new(), CallId::new(), &Segment { index: 0, offset_ms: 0, data }).await;
    assert!(written.is_err());
}
