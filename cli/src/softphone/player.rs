//! The ear of a softphone: what came is played in real time, 20 ms at a time.

use std::collections::VecDeque;

/// Samples of one frame at 16 kHz.
pub const FRAME: usize = 320;

enum Queued {
    Sample(i16),
    /// Comes back when everything before it was played.
    Mark(String),
}

/// What was received and not played yet.
#[derive(Default)]
pub struct Player {
    queue: VecDeque<Queued>,
    samples: usize,
}

impl Player {
    pub fn receive(&mut self, samples: &[i16]) {
        self.samples += samples.len();
        self.queue.extend(samples.iter().map(|sample| Queued::Sample(*sample)));
    }

    pub fn mark(&mut self, name: String) {
        self.queue.push_back(Queued::Mark(name));
    }

    /// Throws away what was not played; answers the marks in it, which come back at once.
    pub fn clear(&mut self) -> Vec<String> {
        self.samples = 0;
        self.queue.drain(..).filter_map(Queued::mark).collect()
    }

    /// Plays one frame, silence where there is nothing; answers the marks that were reached.
    pub fn play(&mut self) -> ([i16; FRAME], Vec<String>) {
        let (mut frame, mut reached, mut played) = ([0; FRAME], Vec::new(), 0);
        while let Some(next) = self.queue.pop_front() {
            match next {
                Queued::Mark(name) => reached.push(name),
                sample if played == FRAME => {
                    self.queue.push_front(sample);
                    break;
                }
                Queued::Sample(sample) => {
                    frame[played] = sample;
                    played += 1;
                    self.samples -= 1;
                }
            }
        }
        (frame, reached)
    }

    /// Whether there is something to hear.
    pub fn is_playing(&self) -> bool {
        self.samples > 0
    }
}

impl Queued {
    fn mark(self) -> Option<String> {
        match self {
            Self::Mark(name) => Some(name),
            Self::Sample(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_is_played_frame_by_frame_and_marks_come_back_when_they_are_reached() {
        let mut player = Player::default();
        player.receive(&[1; 400]);
        player.mark("half".to_owned());
        player.receive(&[2; 240]);
        player.mark("end".to_owned());
        assert_eq!(player.play(), ([1; 320], vec![]));
        let (frame, reached) = player.play();
        assert_eq!((frame[79], frame[80], reached), (1, 2, vec!["half".to_owned(), "end".to_owned()]));
        assert!(!player.is_playing());
        assert_eq!(player.play().0, [0; 320]);
    }

    #[test]
    fn what_is_cleared_is_never_heard_and_its_marks_come_back_at_once() {
        let mut player = Player::default();
        player.receive(&[1; 640]);
        player.mark("end".to_owned());
        player.play();
        assert_eq!(player.clear(), ["end"]);
        assert_eq!(player.play(), ([0; 320], vec![]));
    }
}
