use proptest::prelude::*;

use super::*;

const FORMAT: AudioFormat = AudioFormat::Mulaw8k;
const TEXT: [&str; 3] = ["The invoice was paid. ", "It was fifteen thousand dollars. ", "Anything else?"];

/// `frames` of audio, each with the number of its first byte.
fn audio(first: u8, frames: u8) -> Bytes {
    (first..first + frames).flat_map(|number| [number; 160]).collect::<Vec<u8>>().into()
}

/// A reply of three pieces, 20 frames each, all made.
fn reply() -> Speech {
    let mut speech = Speech::new(JobId::new(), 1, FORMAT, "en-US");
    for (number, text) in (0..).zip(TEXT) {
        speech.piece(text.to_owned());
        speech.audio(audio(number * 20, 10));
        speech.audio(audio(number * 20 + 10, 10));
        speech.piece_done();
    }
    speech.close();
    speech
}

/// What a socket has been sent, and how far it has played.
#[derive(Default)]
struct Socket {
    generation: u32,
    queued: Vec<u8>,
    played_ms: u32,
    heard: Vec<u8>,
    pieces: Vec<String>,
    begun: Vec<u32>,
    finished: bool,
}

impl Socket {
    fn take_all(&mut self, speech: &mut Speech) {
        while let Some(down) = speech.next() {
            match down {
                Down::Begin { generation, .. } => {
                    *self = Self {
                        generation,
                        heard: std::mem::take(&mut self.heard),
                        begun: std::mem::take(&mut self.begun),
                        pieces: std::mem::take(&mut self.pieces),
                        ..Self::default()
                    };
                    self.begun.push(generation);
                }
                Down::Piece { text, .. } => self.pieces.push(text),
                Down::Audio { generation, data } => {
                    assert_eq!(generation, self.generation);
                    self.queued.extend(data.chunks(160).map(|frame| frame[0]));
                }
                Down::Finish { .. } => self.finished = true,
                Down::PieceDone { .. } => {}
                other => panic!("{other:?} is nothing a speech says"),
            }
        }
    }

    /// Plays `frames` more, if there are so many.
    fn play(&mut self, frames: usize) {
        let from = (self.played_ms / 20) as usize;
        let to = (from + frames).min(self.queued.len());
        self.heard.extend_from_slice(&self.queued[from..to]);
        self.played_ms = to as u32 * 20;
    }
}

#[test]
fn a_reply_is_sent_in_order_and_no_further_ahead_than_the_window() {
    let (mut speech, mut socket) = (reply(), Socket::default());
    speech.audio(audio(60, 100));
    socket.take_all(&mut speech);
    assert_eq!((socket.begun.clone(), socket.queued.len()), (vec![1], 60), "the next second does not fit");
    socket.play(60);
    speech.played(1, 1_200);
    socket.take_all(&mut speech);
    assert_eq!(socket.queued.len(), 160);
    assert!(socket.finished && !speech.is_spoken());
    assert_eq!(speech.played(1, 3_200).iter().map(Bytes::len).sum::<usize>(), 100 * 160);
    assert!(speech.is_spoken());
}

#[test]
fn a_held_reply_goes_on_where_it_was_stopped() {
    let (mut speech, mut socket) = (reply(), Socket::default());
    socket.take_all(&mut speech);
    socket.play(30);
    assert!(matches!(speech.hold(), Some(Down::Clear { generation: 1 })));
    assert!(speech.hold().is_none(), "it was told already");
    assert!(speech.played(1, 1_200).is_empty(), "a mark that the clear sent back");
    speech.cleared(1, socket.played_ms);
    assert!(speech.next().is_none(), "nothing is said while it is held");
    let (words, ms, _) = speech.heard();
    assert_eq!(ms, 600);
    assert!(words.starts_with("The invoice was paid. It was"), "{words}");
    assert!(!words.contains("dollars"), "{words}");
    speech.resume();
    socket.take_all(&mut speech);
    socket.play(60);
    assert_eq!(socket.heard, (0..60).collect::<Vec<u8>>(), "nothing twice, nothing lost");
    assert_eq!(socket.begun, [1, 2]);
    assert_eq!(words.clone() + " " + socket.pieces[3].trim_start(), TEXT[..2].concat());
    speech.played(2, socket.played_ms);
    assert_eq!(speech.heard().0, TEXT.concat());
    assert!(speech.is_spoken());
}

#[test]
fn a_reply_that_was_never_sent_was_not_heard() {
    let mut speech = reply();
    assert!(speech.hold().is_none());
    assert_eq!(speech.heard().0, "");
    speech.resume();
    assert!(matches!(speech.next(), Some(Down::Begin { .. })));
}

fn playback(cleared: bool) -> Playback {
    let piece = |text: &str, through_ms, complete| nats::media::PlayedPiece {
        text: text.to_owned(),
        through_ms,
        complete,
    };
    Playback {
        generation: 4,
        job_id: JobId::new(),
        queued_ms: 600,
        played_ms: 480,
        cleared,
        finished: false,
        pieces: vec![piece(TEXT[0], 400, true), piece(TEXT[1], 600, false)],
    }
}

#[test]
fn another_worker_says_what_is_left_and_no_sentence_from_its_start() {
    let (mut speech, rest) = Speech::taken_over(&playback(false), &TEXT.concat(), FORMAT, "en-US");
    assert_eq!(rest.open, Some((TEXT[1].to_owned(), 200)), "ten frames of it are at the socket");
    assert_eq!(rest.text, TEXT[2]);
    speech.audio(audio(0, 10));
    speech.piece_done();
    speech.close();
    assert!(matches!(speech.next(), Some(Down::Audio { generation: 4, .. })), "the same stretch goes on");
    assert!(matches!(speech.next(), Some(Down::PieceDone { .. })));
    assert!(matches!(speech.next(), Some(Down::Finish { .. })));
    speech.played(4, 800);
    assert!(speech.is_spoken());
    assert_eq!(speech.heard().0, TEXT[..2].concat().trim());
}

#[test]
fn another_worker_goes_on_with_a_held_reply_at_a_word() {
    let (mut speech, rest) = Speech::taken_over(&playback(true), &TEXT.concat(), FORMAT, "en-US");
    let (words, _, _) = speech.heard();
    assert!(words.starts_with(TEXT[0]), "{words}");
    assert_eq!(rest.open, None);
    assert_eq!(format!("{words}{}", rest.text), TEXT.concat());
    speech.piece(rest.text);
    assert!(speech.next().is_none(), "it is still held");
    speech.resume();
    assert!(matches!(speech.next(), Some(Down::Begin { generation: 5, .. })));
}

#[test]
fn what_a_lost_socket_had_is_said_to_the_new_one() {
    let (mut speech, mut socket) = (reply(), Socket::default());
    socket.take_all(&mut speech);
    socket.play(10);
    speech.played(1, 200);
    speech.lost();
    socket.take_all(&mut speech);
    assert_eq!(socket.generation, 2);
    assert_eq!(socket.queued, (10..60).collect::<Vec<u8>>());
}

proptest! {
    /// However often a reply is held, reported late or resumed: the caller hears every frame once and in order, and the
    /// words that count as heard are a beginning of the reply.
    #[test]
    fn every_frame_is_heard_once(steps in prop::collection::vec((0..4_u8, 0..25_usize), 1..60)) {
        let (mut speech, mut socket) = (reply(), Socket::default());
        for (step, frames) in steps {
            match step {
                0 => {
                    if speech.hold().is_some() {
                        let stale = socket.played_ms;
                        socket.play(frames % 5);
                        socket.queued.truncate(socket.played_ms as usize / 20);
                        speech.cleared(socket.generation, socket.played_ms);
                        speech.played(socket.generation, stale + 400);
                    }
                }
                1 => speech.resume(),
                2 => {
                    if !speech.held {
                        socket.play(frames);
                        speech.played(socket.generation, socket.played_ms);
                    }
                }
                _ => socket.take_all(&mut speech),
            }
            prop_assert!(TEXT.concat().starts_with(&speech.heard().0));
        }
        speech.resume();
        while !speech.is_spoken() {
            socket.take_all(&mut speech);
            socket.play(7);
            speech.played(socket.generation, socket.played_ms);
        }
        prop_assert_eq!(&socket.heard, &(0..60).collect::<Vec<u8>>());
        prop_assert_eq!(speech.heard().0, TEXT.concat());
    }
}
