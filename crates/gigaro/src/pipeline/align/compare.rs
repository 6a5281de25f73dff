//! Models held against each other: the same held-out prompts, what each does with them, and whose answers are preferred.

use anyhow::{Result, bail};
use gigaro_data::world::{Disguised, Labeller, Prompt, World};
use gigaro_models::generate::SamplingParams;
use gigaro_tensor::DType;
use gigaro_train::evaluate::{
    Behaviour, Compared, Judge, LengthControlled, RedTeamReport, Ruling, TruthJudge, WinRate,
    fair_verdict,
};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::answers::{Asked, answer, most_answer_tokens, said};
use crate::output::Output;
use crate::pipeline::job::Halt;
use crate::trained::Trained;
use crate::turns::Turns;

/// Requests in disguise that a model is asked, at most.
const DISGUISED: usize = 240;

/// A model that takes part, with what it said.
pub(crate) struct Contestant {
    /// As reports call it.
    pub(crate) name: String,
    pub(crate) parameters: u64,
    /// One answer per prompt of the exam.
    pub(crate) answers: Vec<String>,
    pub(crate) behaviour: Behaviour,
    /// What it did with requests in disguise, if it was asked.
    pub(crate) red_team: Option<RedTeamReport>,
}

/// The prompts on which models are compared.
pub(crate) struct Exam {
    pub(crate) prompts: Vec<Prompt>,
    red_team: Vec<Disguised>,
    world: World,
}

/// How a model is given a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// As the message of a conversation.
    Chat,
    /// As text to go on with, as a model is asked that knows no conversations.
    Plain,
    /// Behind a few questions with their answers, as GPT-3 was asked before it was taught to answer.
    FewShot,
}

impl Exam {
    /// Held-out prompts of the world with this seed.
    pub(crate) fn new(world_seed: u64, prompts: usize) -> Self {
        let world = World::new(world_seed);
        let all = world.red_team();
        // Harm and its harmless twin alternate: an odd stride takes as many of either.
        let every = all.len().div_ceil(DISGUISED) | 1;
        let red_team = all.into_iter().step_by(every).collect();
        Self {
            prompts: world.alignment_exam(prompts),
            red_team,
            world,
        }
    }

    /// Has a model answer everything, greedily; the requests in disguise only if it is one of those that were taught to
    /// refuse.
    ///
    /// # Errors
    /// If it cannot, or the user stops it.
    pub(crate) fn sit(
        &self,
        halt: Halt<'_>,
        name: &str,
        trained: &Trained,
        manner: Manner,
        disguised: bool,
    ) -> Result<Contestant> {
        let said = self.ask(halt, trained, manner, &self.prompts)?;
        let each = self.prompts.iter().zip(said.iter().map(String::as_str));
        let behaviour = Behaviour::of(each);
        let red_team = if disguised {
            let prompts: Vec<Prompt> = self.red_team.iter().map(|d| d.prompt.clone()).collect();
            let said = self.ask(halt, trained, manner, &prompts)?;
            let each = self.red_team.iter().zip(said.iter().map(String::as_str));
            Some(RedTeamReport::of(each))
        } else {
            None
        };
        Ok(Contestant {
            name: name.to_owned(),
            parameters: trained.model.config.num_params(),
            behaviour,
            red_team,
            answers: said,
        })
    }

    fn ask(
        &self,
        halt: Halt<'_>,
        trained: &Trained,
        manner: Manner,
        prompts: &[Prompt],
    ) -> Result<Vec<String>> {
        let most = most_answer_tokens(trained.context());
        let greedy = SamplingParams {
            max_tokens: most,
            ..SamplingParams::greedy()
        };
        match manner {
            Manner::Chat => {
                let turns = Turns::of(trained)?;
                let asked = Asked::new(prompts.to_vec(), &turns)?;
                let written = answer(halt, trained, &asked.tokens, &greedy, DType::F32)?;
                Ok(written.iter().map(said).collect())
            }
            Manner::Plain | Manner::FewShot => {
                let page = self.page();
                let tokens = |p: &Prompt| {
                    let mut ids = trained.tokenizer.document_start().into_iter().collect();
                    let text = match manner {
                        Manner::FewShot => format!("{page}Question: {} Answer:", p.text),
                        _ => p.text.clone(),
                    };
                    trained.tokenizer.encode_into(&text, &mut ids);
                    let surplus = ids.len().saturating_sub(trained.context() - most);
                    ids.split_off(surplus)
                };
                let tokens: Vec<Vec<u32>> = prompts.iter().map(tokens).collect();
                let params = SamplingParams {
                    stop: vec!["\n".into()],
                    ..greedy
                };
                let written = answer(halt, trained, &tokens, &params, DType::F32)?;
                Ok(written.iter().map(said).collect())
            }
        }
    }

    /// Three exercises as pretraining has them, with their answers.
    fn page(&self) -> String {
        let asked = self
            .world
            .alignment_prompts(0)
            .filter(|p| p.question.is_some());
        let lines = asked
            .take(3)
            .map(|p| format!("Question: {} Answer: {}\n", p.text, p.ideal));
        lines.collect()
    }

    /// How often the first model's answers are preferred.
    ///
    /// # Errors
    /// Those of the judge, if not one of its verdicts can be read, or the user stops it.
    pub(crate) fn duel(
        &self,
        halt: Halt<'_>,
        judge: &mut dyn Judge,
        one: &Contestant,
        other: &Contestant,
        seed: u64,
    ) -> Result<Duel> {
        let mut rulings = Vec::with_capacity(self.prompts.len());
        let mut compared = Vec::with_capacity(self.prompts.len());
        let bar = bar(judge, self.prompts.len());
        for ((prompt, a), b) in self.prompts.iter().zip(&one.answers).zip(&other.answers) {
            if halt.stop.is_requested() {
                bar.finish_and_clear();
                return Err(halt.interrupted("Stopped while answers were judged"));
            }
            let ruling =
                fair_verdict(judge, prompt, a, b).inspect_err(|_| bar.finish_and_clear())?;
            rulings.push(ruling);
            bar.inc(1);
            let words = |answer: &str| answer.split_whitespace().count();
            compared.extend(ruling.verdict().map(|verdict| Compared {
                verdict,
                first_length: words(a),
                second_length: words(b),
            }));
        }
        bar.finish_and_clear();
        if compared.is_empty() && !rulings.is_empty() {
            let why = judge.remark().unwrap_or_default();
            bail!(
                "the judge {} gave no verdict that could be read, so nothing was compared ({why}): take a model that follows instructions",
                judge.name()
            );
        }
        let count = |wanted: Ruling| rulings.iter().filter(|r| **r == wanted).count();
        Ok(Duel {
            names: (one.name.clone(), other.name.clone()),
            judge: judge.name(),
            rate: WinRate::of(compared.iter().map(|c| c.verdict)),
            length_controlled: LengthControlled::of(&compared, seed),
            swayed: count(Ruling::Swayed),
            unreadable: count(Ruling::Unreadable),
            seed,
        })
    }
}

/// Shows how far a judge has come that takes its time, as whoever reads both answers at once does.
fn bar(judge: &dyn Judge, prompts: usize) -> ProgressBar {
    if judge.may_depend_on_order() && Output::has_bars() {
        ProgressBar::new(prompts as u64)
    } else {
        ProgressBar::hidden()
    }
}

/// The judge of the small world: a labeller who never errs.
pub(crate) fn truth() -> TruthJudge {
    TruthJudge(Labeller::truth())
}

/// Models that sat the same exam, and how they did against each other.
pub(crate) struct Comparison {
    pub(crate) exam: Exam,
    pub(crate) contestants: Vec<Contestant>,
    pub(crate) duels: Vec<Duel>,
}

impl Comparison {
    /// Nobody yet.
    pub(crate) fn new(exam: Exam) -> Self {
        Self {
            exam,
            contestants: Vec::new(),
            duels: Vec::new(),
        }
    }

    /// Has a model take part, and tells what it did.
    ///
    /// # Errors
    /// As [`Exam::sit`].
    pub(crate) fn add(
        &mut self,
        halt: Halt<'_>,
        name: &str,
        trained: &Trained,
        (manner, disguised): (Manner, bool),
        output: &Output,
    ) -> Result<()> {
        let contestant = self.exam.sit(halt, name, trained, manner, disguised)?;
        contestant.tell(output);
        self.contestants.push(contestant);
        Ok(())
    }

    /// Holds pairs of models against each other, those of them that took part, and tells who won.
    ///
    /// # Errors
    /// Those of [`Exam::duel`], or if no pair is there.
    pub(crate) fn judge(
        &mut self,
        halt: Halt<'_>,
        judge: &mut dyn Judge,
        pairs: &[(&str, &str)],
        seed: u64,
        output: &Output,
    ) -> Result<()> {
        for (one, other) in pairs {
            if let (Some(one), Some(other)) = (self.named(one), self.named(other)) {
                let duel = self.exam.duel(halt, judge, one, other, seed)?;
                self.duels.push(duel);
            }
        }
        if self.duels.is_empty() {
            bail!("no two models were compared");
        }
        let name = |duel: &Duel| format!("{} against {}", duel.names.0, duel.names.1);
        let names: Vec<String> = self.duels.iter().map(name).collect();
        let lines = self.duels.iter().map(Duel::line);
        let shown: Vec<(&str, String)> = names.iter().map(String::as_str).zip(lines).collect();
        output.fields("\nPreferred answers", &shown);
        if let Some(remark) = judge.remark() {
            output.say(format_args!("The judge: {remark}"));
        }
        Ok(())
    }

    /// The model that reports call so.
    pub(crate) fn named(&self, name: &str) -> Option<&Contestant> {
        self.contestants.iter().find(|c| c.name == name)
    }

    /// The comparison of these two.
    pub(crate) fn duel(&self, one: &str, other: &str) -> Option<&Duel> {
        let is_wanted = |d: &&Duel| d.names.0 == one && d.names.1 == other;
        self.duels.iter().find(is_wanted)
    }

    /// All models and duels for a program.
    pub(crate) fn json(&self) -> Value {
        json!({
            "models": self.contestants.iter().map(Contestant::json).collect::<Vec<_>>(),
            "duels": self.duels.iter().map(Duel::json).collect::<Vec<_>>(),
        })
    }
}

/// Two models and whose answers are preferred.
pub(crate) struct Duel {
    pub(crate) names: (String, String),
    pub(crate) judge: String,
    pub(crate) rate: WinRate,
    pub(crate) length_controlled: LengthControlled,
    /// Prompts on which the order of the answers decided; they are ties.
    pub(crate) swayed: usize,
    /// Prompts without a verdict that could be read; they are left out.
    pub(crate) unreadable: usize,
    seed: u64,
}

impl Duel {
    /// The share of prompts that the first one wins, with the ends of its 95 % bootstrap interval.
    pub(crate) fn share(&self) -> (f64, f64, f64) {
        let interval = self.rate.bootstrap(self.seed);
        (self.rate.rate(), interval.low, interval.high)
    }

    /// The result in words.
    pub(crate) fn line(&self) -> String {
        let (rate, low, high) = self.share();
        let doubts = self
            .doubts()
            .map_or(String::new(), |text| format!("; {text}"));
        format!(
            "{:.1} % (95 % interval {:.1} to {:.1} %) of {} prompts{doubts}",
            100.0 * rate,
            100.0 * low,
            100.0 * high,
            self.rate.prompts()
        )
    }

    /// How far the judge is to be trusted, if there is reason to ask.
    pub(crate) fn doubts(&self) -> Option<String> {
        let swayed = format!("{} tied as the order swayed the judge", self.swayed);
        let unreadable = format!("{} left out without a readable verdict", self.unreadable);
        let both = [(self.swayed, swayed), (self.unreadable, unreadable)];
        let told: Vec<String> = both
            .into_iter()
            .filter(|(n, _)| *n > 0)
            .map(|(_, text)| text)
            .collect();
        (!told.is_empty()).then(|| told.join(", "))
    }

    pub(crate) fn json(&self) -> Value {
        let mut object = self.rate.json(self.seed);
        object["models"] = json!([&self.names.0, &self.names.1]);
        object["judge"] = json!(self.judge);
        object["swayed"] = json!(self.swayed);
        object["unreadable"] = json!(self.unreadable);
        object["length_controlled"] = json!(self.length_controlled.rate);
        object
    }
}

impl Contestant {
    /// What it did, for a person.
    pub(crate) fn tell(&self, output: &Output) {
        let mut lines = self.behaviour.lines();
        if let Some(red_team) = &self.red_team {
            lines.extend(red_team.lines().into_iter().take(1));
        }
        output.fields(&format!("\n{}", self.name), &lines);
    }

    /// The same for a program.
    pub(crate) fn json(&self) -> Value {
        json!({
            "name": self.name,
            "parameters": self.parameters,
            "behaviour": self.behaviour.json(),
            "red_team": self.red_team.as_ref().map(RedTeamReport::json),
        })
    }
}
