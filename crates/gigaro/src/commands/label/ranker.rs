//! A ranking under way: answers named from the best down, some of them level.

/// Which answers have been named so far.
#[derive(Clone, Debug)]
pub(super) struct Ranker {
    answers: usize,
    /// From the best down, each place with the answers that share it.
    places: Vec<Vec<usize>>,
    /// Whether the next answer shares the place of the one before.
    level: bool,
}

impl Ranker {
    /// Nothing named yet of so many answers.
    pub(super) fn new(answers: usize) -> Self {
        Self {
            answers,
            places: Vec::new(),
            level: false,
        }
    }

    /// Names the next answer, counted from 0. One that is not there or was named already changes nothing.
    pub(super) fn press(&mut self, answer: usize) {
        if answer >= self.answers || self.place_of(answer).is_some() {
            return;
        }
        match self.places.last_mut() {
            Some(last) if self.level => last.push(answer),
            _ => self.places.push(vec![answer]),
        }
        self.level = false;
    }

    /// Whether the next answer is level with the one before; before any answer, whether all are level.
    pub(super) fn toggle_level(&mut self) {
        self.level = !self.level;
    }

    /// Takes the last key back.
    pub(super) fn back(&mut self) {
        if self.level {
            self.level = false;
        } else if let Some(last) = self.places.last_mut() {
            last.pop();
            // An answer that shared its place was named behind an equals sign, which is the key before it.
            self.level = !last.is_empty();
            if last.is_empty() {
                self.places.pop();
            }
        }
    }

    /// The place of an answer, 0 for the best, if it was named.
    pub(super) fn place_of(&self, answer: usize) -> Option<usize> {
        self.places.iter().position(|place| place.contains(&answer))
    }

    /// One rank per answer, 1 for the best. Answers that were not named share the last place. `None` if nothing was said at all.
    pub(super) fn ranks(&self) -> Option<Vec<u32>> {
        if self.places.is_empty() && !self.level {
            return None;
        }
        let rank = |answer| self.place_of(answer).unwrap_or(self.places.len()) as u32 + 1;
        Some((0..self.answers).map(rank).collect())
    }

    /// The ranking so far, in the digits that were pressed.
    pub(super) fn words(&self) -> String {
        let joined = |answers: &[usize]| {
            let digits: Vec<String> = answers
                .iter()
                .map(|answer| (answer + 1).to_string())
                .collect();
            digits.join(" = ")
        };
        let said: Vec<String> = self.places.iter().map(|place| joined(place)).collect();
        let said = said.join(" > ");
        let left: Vec<usize> = (0..self.answers)
            .filter(|&answer| self.place_of(answer).is_none())
            .collect();
        match (self.places.is_empty(), self.level, left.is_empty()) {
            (true, false, _) => "Which answer is best?".to_owned(),
            (true, true, _) => "All level; Enter saves that.".to_owned(),
            (false, _, true) => format!("{said}   Enter saves"),
            (false, true, false) => format!("{said} = ..."),
            (false, false, false) => format!("{said} > {} if you press Enter now", joined(&left)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Digits name answers, `=` makes the next one level, `<` takes a key back.
    fn ranks_of(answers: usize, keys: &str) -> Option<Vec<u32>> {
        let mut ranker = Ranker::new(answers);
        for key in keys.chars() {
            match key {
                '=' => ranker.toggle_level(),
                '<' => ranker.back(),
                digit => ranker.press(digit as usize - '1' as usize),
            }
        }
        ranker.ranks()
    }

    #[test]
    fn digits_rank_from_the_best_down() {
        assert_eq!(ranks_of(3, "231"), Some(vec![3, 1, 2]));
        assert_eq!(ranks_of(2, "2"), Some(vec![2, 1]), "the rest comes last");
        assert_eq!(ranks_of(4, "3"), Some(vec![2, 2, 1, 2]), "and level");
        assert_eq!(
            ranks_of(3, "22919"),
            Some(vec![2, 1, 3]),
            "what cannot be is passed over"
        );
        assert_eq!(ranks_of(3, ""), None);
    }

    #[test]
    fn an_equals_sign_makes_answers_level() {
        assert_eq!(ranks_of(3, "2=13"), Some(vec![1, 1, 2]));
        assert_eq!(ranks_of(2, "="), Some(vec![1, 1]), "before any digit, all");
        assert_eq!(ranks_of(2, "=="), None, "pressed twice, nothing was said");
    }

    #[test]
    fn each_key_can_be_taken_back() {
        assert_eq!(
            ranks_of(3, "2=1<<3"),
            Some(vec![3, 1, 2]),
            "the digit, then nothing is level"
        );
        assert_eq!(ranks_of(3, "12<<<"), None);
        assert_eq!(ranks_of(3, "1=<2"), Some(vec![1, 2, 3]));
    }

    #[test]
    fn the_words_say_what_enter_would_keep() {
        let mut ranker = Ranker::new(3);
        assert_eq!(ranker.words(), "Which answer is best?");
        ranker.press(1);
        assert_eq!(ranker.words(), "2 > 1 = 3 if you press Enter now");
        ranker.toggle_level();
        assert_eq!(ranker.words(), "2 = ...");
        ranker.press(0);
        ranker.press(2);
        assert_eq!(ranker.words(), "2 = 1 > 3   Enter saves");
    }
}
