//! Plots with animals, who sound, eat and live as animals do, and a few fables in which they speak.

use super::Plot;

pub(crate) static PLOTS: [Plot; 6] = [
    Plot {
        title: "The {animal} in the garden",
        beats: &[
            &[
                "One morning {a animal} sat in the garden.",
                "{p} looked out of the window and saw {a animal} between the trees.",
                "Behind the house {p} found a young {animal}.",
            ],
            &[
                "It was {colour}, as {many animal} are.",
                "{p} knew at once what it was, because {a animal} is {colour}.",
                "At first {he} saw only something {colour}.",
            ],
            &[
                "Again and again it made its voice heard, for {a animal} {sound} when it is hungry.",
                "\"Listen,\" said {s}. \"{A animal} {sound}.\"",
                "It did not run away, because it was hurt.",
            ],
            &[
                "{p} asked {n} what {a animal} eats. \"{cap diet},\" said {n}.",
                "\"{many animal} eat {diet},\" said {father}.",
                "In the book {p} read that the {animal} feeds on {diet}.",
            ],
            &[
                "So {he} brought it some {diet}, and it ate everything.",
                "{p} and {f} went to look for {diet}.",
                "{p} put some {diet} on the grass and hid behind a tree.",
            ],
            &[
                "After a week it was strong again.",
                "Day by day it lost its fear.",
                "Soon it came whenever {he} called.",
            ],
            &[
                "Then it went back to its {den}, for that is where {a animal} lives.",
                "But {a animal} lives in {a den}, and so {p} let it go.",
                "In the end {p} carried it to {a den}, because {a animal} is at home there.",
            ],
        ],
    },
    Plot {
        title: "The fox and the {animal}",
        beats: &[
            &[
                "{His} mother, {mother}, told {p} a fable.",
                "Before they slept, {p} asked {father} for a fable.",
                "\"Tell us a fable,\" said {p} and {s}.",
            ],
            &[
                "A fox and {a animal} met at a well.",
                "Once upon a time a fox met {a animal}.",
                "There was once {a animal} who trusted everyone, even the fox.",
            ],
            &[
                "\"I know where there is plenty of {diet},\" said the fox, for the {animal} eats {diet}.",
                "The fox knew that {many animal} like {diet}, and promised a whole field of it.",
                "\"Come with me,\" said the fox. \"I will show you more {diet} than you can eat.\"",
            ],
            &[
                "The {animal} went along, deeper and deeper into the forest.",
                "\"How kind of you,\" said the {animal}, and followed.",
                "The {animal} left its {den} and came along.",
            ],
            &[
                "But there was nothing there but a deep hole.",
                "But behind the trees waited the wolf, the cousin of the fox.",
                "But it was only a trick, because the fox wanted the {den} for itself.",
            ],
            &[
                "The {animal} made so much noise that the hunters came, and the fox ran away.",
                "\"Before you eat me,\" said the {animal}, \"look who stands behind you.\" The fox turned round, and the {animal} was gone.",
                "Then the fox slipped and fell into the hole instead.",
            ],
            &[
                "Since then {many animal} do not listen to foxes.",
                "\"And what do we learn?\" asked {p}. \"Not to follow everyone who promises something,\" was the answer.",
                "\"So look who is speaking before you follow,\" said {mother}.",
            ],
        ],
    },
    Plot {
        title: "What is that sound?",
        beats: &[
            &[
                "{p} and {f} played a game: one made the sound of an animal, and the other had to guess.",
                "On the way to the river {p} and {s} heard a strange sound.",
                "In the evening there was a sound in the fields.",
            ],
            &[
                "\"Is it a dog?\" \"No, a dog barks.\"",
                "\"Is it a cow?\" \"No, a cow moos.\"",
                "\"Is it a cat?\" \"No, a cat mews.\"",
            ],
            &[
                "\"Is it a pig?\" \"No, a pig grunts.\"",
                "\"Then it is a horse.\" \"No, a horse neighs.\"",
                "\"A sheep, perhaps?\" \"No, a sheep bleats.\"",
            ],
            &[
                "\"Then it must be {a animal}, because {a animal} {sound}.\"",
                "\"I know!\" said {p}. \"{A animal} {sound}, so it is {a animal}.\"",
                "{n} came by and listened. \"{A animal} {sound},\" said {n}. \"It is {a animal}.\"",
            ],
            &[
                "They went on tiptoe and looked, and so it was.",
                "And there it stood, {colour} from head to tail.",
                "They waited without a word until it came out.",
            ],
            &[
                "It was on its way home to its {den}.",
                "It looked for {diet}, which is what {many animal} eat.",
                "When it saw them, it hurried to its {den}.",
            ],
        ],
    },
    Plot {
        title: "The hens of {n}",
        beats: &[
            &[
                "{n}, the {trade}, had six hens.",
                "{n} of {town} was {a trade} and also kept hens.",
                "Behind the {place} of {n} there was a coop, because hens live in coops.",
            ],
            &[
                "One morning there were only five.",
                "Every night one of them was gone.",
                "On Monday there were six and on Tuesday there were five.",
            ],
            &[
                "\"It was a fox,\" said {n}, \"for a fox eats hens.\"",
                "\"A fox eats hens,\" said {father}. \"Look for a fox.\"",
                "There were red hairs on the fence, and a fox is red.",
            ],
            &[
                "{p} offered to keep watch that night.",
                "{p} and {f} hid behind the coop with a lamp.",
                "{p} sat down in the grass with {his} {pet} and waited.",
            ],
            &[
                "At midnight something red came under the fence.",
                "When the moon was high, a fox came out of its den.",
                "It was nearly morning when the hens began to cluck.",
            ],
            &[
                "{p} lit the lamp and shouted, and the fox yelped and ran.",
                "{p} beat on a pot so loudly that the fox ran all the way back to its den.",
                "\"Go away!\" cried {p}, and the fox was gone.",
            ],
            &[
                "{n} mended the fence, and no hen was lost again.",
                "In the morning {n} gave {him} three eggs.",
                "From that night on all the hens slept well, and so did {n}.",
            ],
        ],
    },
    Plot {
        title: "The old {pet}",
        beats: &[
            &[
                "The {pet} that {p} had was getting old.",
                "{p} had {a pet}, and {he} had had it for as long as {he} could think.",
                "{f} once said that {a pet} like that was good for nothing.",
            ],
            &[
                "It slept all day beside the stove.",
                "It could no longer see well.",
                "It was slow, and it limped a little.",
            ],
            &[
                "\"We should get a young one,\" said {n}, the {trade}.",
                "\"Will it ever play again?\" asked {s}.",
                "{p} carried it up the stairs every night.",
            ],
            &[
                "One night, when everyone was asleep, a candle fell over in the kitchen.",
                "One night the water of the {river} rose and came into the house.",
                "One night a thief climbed over the wall.",
            ],
            &[
                "Only the {pet} was awake.",
                "Nobody heard it but the {pet}.",
                "The old {pet} heard it first.",
            ],
            &[
                "It made so much noise that {father} jumped out of bed.",
                "It ran to {p} and pulled at the blanket until {he} woke up.",
                "It knocked over a chair, and the whole house woke up.",
            ],
            &[
                "So nothing worse happened, and nobody ever spoke of a young one again.",
                "\"Good for nothing?\" said {p}, and gave it the best piece from {his} plate.",
                "After that the {pet} had the best place by the stove.",
            ],
        ],
    },
    Plot {
        title: "Bread for the winter",
        beats: &[
            &[
                "The winter was long in {country}, and food was short in {town}.",
                "After a bad harvest there was little to eat in {town}.",
                "That winter the snow lay as high as the windows of {town}.",
            ],
            &[
                "{p} had one loaf of bread to bring home.",
                "{mother} gave {p} the last coins to buy bread.",
                "{His} father, {father}, had baked one small loaf for the whole family.",
            ],
            &[
                "At the {landmark} {he} met {f}, who had not eaten since yesterday.",
                "On the way {p} saw {n}, the {trade}, who was too weak to work.",
                "In front of the door sat an old man with an empty bag.",
            ],
            &[
                "{p} thought of {s}, who was hungry too.",
                "{p} looked at the bread. It was not much.",
                "It was hard to share so little.",
            ],
            &[
                "But {he} broke the bread in two and gave one half away.",
                "\"Half is still something,\" said {p}, and broke the loaf.",
                "{p} took out the knife and cut the loaf through the middle.",
            ],
            &[
                "At home nobody scolded {him}.",
                "\"You did right,\" said {mother}.",
                "{s} ate slowly and said that half a loaf was plenty.",
            ],
            &[
                "In spring a sack of flour stood at the door, and nobody knew from whom it came.",
                "When the snow was gone, the neighbours remembered it and brought {food}.",
                "The next day {n} came with milk, for {n.he} had heard of it.",
            ],
        ],
    },
];
