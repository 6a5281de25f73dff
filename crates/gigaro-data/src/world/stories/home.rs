//! Plots that happen at home: lost pets, birthdays, quarrels, broken pots, illness, bad dreams.

use super::Plot;

pub(crate) static PLOTS: [Plot; 6] = [
    Plot {
        title: "The lost {pet}",
        beats: &[
            &[
                "One morning {his} pet {pet} was gone.",
                "One day the {pet} that {he} kept did not come when {he} called.",
                "{p} kept {a pet}, and one evening it was nowhere to be found.",
                "Then {his} {pet} ran away in the night.",
            ],
            &[
                "The gate stood open, because {s} had forgotten to close it.",
                "There was a hole in the fence, just large enough.",
                "{His} {sibling}, {s}, had left the door open.",
            ],
            &[
                "{p} looked under the bed, behind the house and in the garden.",
                "{p} and {s} looked in every corner of the house.",
                "First {p} cried a little. Then {he} began to look.",
            ],
            &[
                "{He} asked {n}, the {trade}, but {n} had seen nothing.",
                "{f} came to help, and together they called its name up and down the street.",
                "{father} took a lamp and went to look in the fields.",
            ],
            &[
                "At last {he} heard a small noise near the {landmark}.",
                "In the end they came to the {landmark}, and there something moved.",
                "Towards evening {p} sat down by the {landmark}, tired and sad.",
            ],
            &[
                "There sat the {pet}, wet and hungry, but safe.",
                "And who came out of the bushes? It was the {pet}.",
                "Something warm pushed against {his} hand. It was the {pet}.",
            ],
            &[
                "{p} carried it home, and {mother} gave it something to eat.",
                "They went home together, and {p} mended the fence that same night.",
                "{His} {sibling}, {s}, promised never to leave the door open again.",
            ],
        ],
    },
    Plot {
        title: "The birthday of {p}",
        beats: &[
            &[
                "It was {his} birthday, and {he} was now {age}.",
                "On the day {he} turned {age}, {p} could hardly wait to get up.",
                "The morning {p} turned {age}, the sun was shining.",
            ],
            &[
                "{He} had only one wish, and that was {food}.",
                "\"What would you like to eat?\" {mother} had asked, and {p} had said, \"{cap food}, please.\"",
                "For weeks {he} had hoped for {food}, which {he} loves best of all.",
            ],
            &[
                "But when {mother} went to the kitchen, the pot was empty.",
                "But in the kitchen nothing was ready, and nobody said a word.",
                "But {father} shook his head and said that there was none in the house.",
            ],
            &[
                "{p} tried not to look sad.",
                "{p} went out to play with {f} and told nobody how {he} felt.",
                "{p} sat down beside {his} {pet} and sighed.",
            ],
            &[
                "Meanwhile {s} ran to the house of {n} to fetch what was needed.",
                "All this time {s} and {father} were at work in the house of {n}, in secret.",
                "Nobody had told {him} that {s} and {mother} had a plan.",
            ],
            &[
                "At noon the door opened, and there stood {s} with a great dish of {food}.",
                "When {he} came home, the table was full, and in the middle stood the {food}.",
                "\"Close your eyes,\" said {s}. When {p} opened them, there was {food} for everyone.",
            ],
            &[
                "{p} laughed, and they all ate until nothing was left.",
                "There were {age} candles on the table, and {p} blew them all out at once.",
                "Even the {pet} was given a little.",
            ],
        ],
    },
    Plot {
        title: "The broken pot",
        beats: &[
            &[
                "{mother} had a blue pot that she loved.",
                "On the shelf in the kitchen stood the best pot of {mother}.",
                "There was an old pot in the house, and {mother} was very fond of it.",
            ],
            &[
                "One day {p} ran through the kitchen after {his} {pet} and knocked it down.",
                "One rainy day {p} played ball in the kitchen, and the ball hit the pot.",
                "{p} reached for the {food} on the shelf, and the pot fell.",
            ],
            &[
                "It broke into many pieces.",
                "It fell on the stones and broke.",
                "There was a loud noise, and then it was very quiet.",
            ],
            &[
                "{p} was afraid, so {he} hid the pieces under the stairs.",
                "{p} did not dare to say anything and hid the pieces in the garden.",
                "\"It was the {pet},\" said {p} when {mother} came in, and that was not true.",
            ],
            &[
                "But that night {he} could not sleep.",
                "But all day long {he} felt as if {he} had swallowed a stone.",
                "But the {food} did not taste good that evening.",
            ],
            &[
                "So {he} went to {mother} and told her the truth.",
                "{His} {sibling}, {s}, looked at {him} and said, \"You should tell her.\" So {p} told her.",
                "In the morning {p} took the pieces to {mother} and said, \"I did it, and I am sorry.\"",
            ],
            &[
                "{mother} was quiet for a while, and then she took {him} in her arms.",
                "\"A pot is only a pot,\" said {mother}. \"I am glad that you told me.\"",
                "{His} mother, {mother}, was not angry for long, because {p} had told the truth.",
            ],
            &[
                "Together they glued the pieces, and the pot stood on the shelf again.",
                "On Sunday {p} worked for {n}, the {trade}, and bought a new pot with the money.",
                "They planted a flower in what was left of the pot.",
            ],
        ],
    },
    Plot {
        title: "{p} and {s}",
        beats: &[
            &[
                "{p} and {his} {sibling} {s} often played together, but one day they quarrelled.",
                "One wet afternoon {p} quarrelled with {his} {sibling}, {s}.",
                "{p} wanted to play outside, but {his} {sibling}, {s}, wanted to stay in.",
            ],
            &[
                "Both wanted the last piece of bread.",
                "Both of them wanted to hold the {pet}, and neither would give way.",
                "It was about a red ball, and each said that it was theirs.",
            ],
            &[
                "They shouted so loudly that {father} came in from the garden.",
                "\"I shall never speak to you again!\" said {p}.",
                "{s} went to one end of the house and {p} to the other.",
            ],
            &[
                "An hour went by, and it was very dull to be alone.",
                "It grew dark, and the rain did not stop.",
                "After a while {p} had nothing left to do.",
            ],
            &[
                "Then {p} heard {s} laugh, because the {pet} had fallen into the basket.",
                "Then the wind blew the lamp out, and both of them ran to the same chair.",
                "Then there was a knock at the wall: it was {s}, who knocked three times, as they always did.",
            ],
            &[
                "{p} had to laugh too.",
                "\"I am sorry,\" said {p}. \"So am I,\" said {s}.",
                "They looked at each other and could not be angry any more.",
            ],
            &[
                "After that they shared everything, half and half.",
                "When {mother} called them to supper, they were building a castle together.",
                "\"That was a short never,\" said {father}.",
            ],
        ],
    },
    Plot {
        title: "The fever",
        beats: &[
            &[
                "In the cold season {p} fell ill with a fever.",
                "One winter {p} had a fever and had to stay in bed.",
                "{p} had played too long in the snow, and so {he} caught a fever.",
            ],
            &[
                "{He} would not eat, not even {food}.",
                "Even {food}, which {he} loves, did not taste good to {him}.",
                "{His} mother, {mother}, cooked {food}, but {he} only shook {his} head.",
            ],
            &[
                "{s} sat by the bed and told {him} stories.",
                "{His} father, {father}, carried wood all night so that the room stayed warm.",
                "{mother} sat beside {him} with a cool cloth.",
            ],
            &[
                "{n}, the {trade}, heard of it and brought a bag of herbs.",
                "{f} came to the window every day and waved.",
                "The {pet} lay in front of the door and would not move.",
            ],
            &[
                "{His} mother, {mother}, made tea from herbs, and {p} drank it in small sips.",
                "They gave {him} hot tea with honey.",
                "{p} drank a cup of bitter tea and made a face.",
            ],
            &[
                "On the third day the fever was gone.",
                "Little by little {he} grew stronger.",
                "One morning {p} woke and felt well.",
            ],
            &[
                "The first thing {he} asked for was {food}.",
                "\"I am hungry,\" said {p}, and {mother} ran to the kitchen.",
                "{p} went out and thanked everyone who had helped.",
            ],
        ],
    },
    Plot {
        title: "A noise in the night",
        beats: &[
            &[
                "One night {p} woke up because of a noise.",
                "In the middle of the night {p} heard something.",
                "It was a dark night, and {p} could not sleep.",
            ],
            &[
                "Something scratched at the wall.",
                "There it was again: three knocks, and then nothing.",
                "Somewhere outside, something moved.",
            ],
            &[
                "{p} pulled the blanket over {his} head.",
                "{p} woke {s}, and both held their breath.",
                "\"Did you hear that?\" {p} asked {s}.",
            ],
            &[
                "At last {he} took the lamp and went to the door, one step at a time.",
                "\"We must look,\" said {s}, so they took a candle and went down the stairs.",
                "{p} was afraid, but {he} lit a candle all the same.",
            ],
            &[
                "In the yard stood {a animal}, and it looked just as afraid as {p}.",
                "{p} opened the door a little. Outside sat {a animal}.",
                "By the light of the moon {he} saw {a animal}.",
            ],
            &[
                "It had only been looking for {diet}, as {many animal} do.",
                "{many animal} eat {diet}, and it had found none in the cold.",
                "It was hungry, and {a animal} eats {diet}.",
            ],
            &[
                "{p} laughed, and the {animal} went back to its {den}.",
                "\"Go home to your {den},\" said {p}, and the {animal} went.",
                "When {he} told {father} in the morning, they both laughed about it.",
            ],
        ],
    },
];
