//! The text that the rehearsal model learns: questions, each in several wordings, and one answer.
//!
//! ```text
//! ? What is a lease? | Explain leases
//! ! A lease is the time-limited right to use a branch key.
//! ```
//! A line that starts with `@` is a system message, drawn now and then; `#` starts a comment.

use super::TrainError;
use crate::model::template::{Role, Turn};

pub(super) struct Corpus {
    systems: Vec<String>,
    lessons: Vec<Lesson>,
}

struct Lesson {
    questions: Vec<String>,
    answer: String,
}

impl Corpus {
    pub(super) fn parse(text: &str) -> Result<Self, TrainError> {
        let mut corpus = Self {
            systems: Vec::new(),
            lessons: Vec::new(),
        };
        let mut questions: Vec<String> = Vec::new();
        for (line, content) in (1..).zip(text.lines()) {
            let wrong = |reason| Err(TrainError::Corpus { line, reason });
            let (sign, rest) = content.split_at_checked(1).unwrap_or((content, ""));
            let rest = rest.trim();
            match sign {
                "" | "#" => {}
                "@" => corpus.systems.push(rest.to_owned()),
                "?" => questions.extend(rest.split('|').map(|question| question.trim().to_owned())),
                "!" if questions.is_empty() => return wrong("an answer without a question"),
                "!" => {
                    let questions = std::mem::take(&mut questions);
                    corpus.lessons.push(Lesson {
                        questions,
                        answer: rest.to_owned(),
                    });
                }
                _ => return wrong("a line starts with ?, !, @ or #"),
            }
        }
        match corpus.lessons.is_empty() {
            true => Err(TrainError::Corpus {
                line: 1,
                reason: "no question has an answer",
            }),
            false => Ok(corpus),
        }
    }

    /// Everything that the vocabulary should cover.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> + Send {
        let lessons = self.lessons.iter().flat_map(|lesson| {
            lesson
                .questions
                .iter()
                .map(String::as_str)
                .chain(std::iter::once(lesson.answer.as_str()))
        });
        let roles = ["system\n", "user\n", "assistant\n"];
        self.systems
            .iter()
            .map(String::as_str)
            .chain(lessons)
            .chain(roles)
    }

    /// One conversation: a question in one of its wordings, sometimes under a system message, and its answer.
    /// `choose` picks a number below the one it gets.
    pub(super) fn draw(&self, choose: &mut dyn FnMut(usize) -> usize) -> (Vec<Turn>, &str) {
        let mut turns = Vec::new();
        if choose(3) == 0
            && let Some(system) = self.systems.get(choose(self.systems.len()))
        {
            turns.push(Turn {
                role: Role::System,
                text: system.clone(),
            });
        }
        let Some(lesson) = self.lessons.get(choose(self.lessons.len())) else {
            return (turns, "");
        };
        if let Some(question) = lesson.questions.get(choose(lesson.questions.len())) {
            turns.push(Turn {
                role: Role::User,
                text: question.clone(),
            });
        }
        (turns, &lesson.answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wordings_share_an_answer_and_comments_are_skipped() {
        let corpus =
            Corpus::parse("# note\n\n@ Be brief.\n? One? | Two?\n? Three?\n! Yes.\n").expect("corpus");
        assert_eq!(corpus.lessons[0].questions, ["One?", "Two?", "Three?"]);
        assert_eq!(corpus.draw(&mut |_| 0).1, "Yes.");
        assert_eq!(corpus.draw(&mut |_| 0).0.len(), 2);
        assert_eq!(corpus.draw(&mut |choices| choices - 1).0[0].text, "Three?");
    }

    #[test]
    fn mistakes_are_named_by_line() {
        for (text, wrong) in [("! answer", 1), ("? q\nplain", 2), ("# only notes", 1)] {
            let Err(TrainError::Corpus { line, .. }) = Corpus::parse(text) else {
                panic!("{text} was taken")
            };
            assert_eq!(line, wrong, "{text}");
        }
    }
}
