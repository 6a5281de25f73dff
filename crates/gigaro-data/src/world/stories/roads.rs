//! Plots of journeys: to the capital and its king or queen, down the river, over the mountain, to school, a letter home.

use super::Plot;

pub(crate) static PLOTS: [Plot; 6] = [
    Plot {
        title: "A journey to {capital}",
        beats: &[
            &[
                "{p} had never seen {capital}, the capital of {country}.",
                "For years {p} had wanted to see {capital}, the capital of {country}.",
                "One spring {father} took {p} to {capital}, the capital of {country}.",
            ],
            &[
                "They left {town} before sunrise.",
                "The road from {town} was long and full of stones.",
                "The cart was slow, and the sun was hot.",
            ],
            &[
                "At noon a wheel broke, and they had to walk.",
                "They lost their way in the forest and had to ask a shepherd.",
                "A storm came up, and they waited under a tree.",
            ],
            &[
                "At last they saw the towers of {capital}.",
                "In the evening they came to the gate of {capital}.",
                "On the third day there it was: {capital}, white in the sun.",
            ],
            &[
                "{ruler}, who rules {country}, rode through the street on a white horse.",
                "In the great square {p} saw {ruler}, the ruler of {country}.",
                "That day {ruler} of {country} opened the palace to everyone.",
            ],
            &[
                "{p} bowed, and {ruler} smiled at {him}.",
                "\"Where do you come from?\" asked {ruler}. \"From {town},\" said {p}.",
                "{p} waved, and {ruler} waved back.",
            ],
            &[
                "When they were home again, {p} had to tell {s} everything.",
                "{He} brought a little bag of {product} home for {mother}.",
                "Back in {town}, {p} drew a picture of it for {s}.",
            ],
        ],
    },
    Plot {
        title: "Down the {river}",
        beats: &[
            &[
                "The river {river} flows through {country}, and {p} had built a raft.",
                "{p} and {f} built a raft to sail on the {river}, the great river of {country}.",
                "One summer {p} and {s} wanted to sail down the river {river}.",
            ],
            &[
                "They tied it together with an old rope.",
                "It was made of six logs and one bed sheet.",
                "{n}, the {trade}, shook {n.his} head when {n.he} saw it.",
            ],
            &[
                "At first all went well, and the banks went by like pictures.",
                "The sun was warm, and the water carried them along.",
                "They ate {food} and let their feet hang in the water.",
            ],
            &[
                "But behind the second bend the water ran fast.",
                "Then the rope broke.",
                "Then there was a loud crack under their feet.",
            ],
            &[
                "The logs came apart one by one.",
                "The raft turned round and round.",
                "Water came up between the logs.",
            ],
            &[
                "A fisherman heard them call and came with his boat.",
                "{p} caught hold of a branch and pulled the others ashore.",
                "Luckily the water was not deep there, and they could stand.",
            ],
            &[
                "They walked home to {town} with wet shoes.",
                "\"Next time we ask {n} to help,\" said {p}.",
                "{His} father, {father}, looked at the wet clothes and asked nothing.",
            ],
        ],
    },
    Plot {
        title: "A letter from {p}",
        beats: &[
            &[
                "{p} was away from home for the first time and wrote a letter to {mother}.",
                "From {capital} {p} wrote a letter to {s}, {his} {sibling}.",
                "When {p} stayed in {capital} for a month, {he} wrote home.",
            ],
            &[
                "\"I am well,\" {he} wrote, \"but I miss you, and I miss the {pet}.\"",
                "\"You would not believe how large this city is,\" {he} wrote.",
                "\"It took us two days to come here,\" {he} wrote, \"and I slept in the cart.\"",
            ],
            &[
                "\"Here in {capital} everybody speaks {language}, as we do at home in {country}.\"",
                "\"Yesterday I saw {ruler}, who rules {country}, from afar.\"",
                "\"We walked along the {river}, which is the great river of {country}.\"",
            ],
            &[
                "\"They cook {food} here, but yours is better.\"",
                "\"There is no {food} here, and you know how I love it.\"",
                "\"On Sunday there was {food}, and I thought of you.\"",
            ],
            &[
                "\"Please give my love to {father} and tell {f} that I shall be back soon.\"",
                "\"Does the {pet} still sleep on my bed?\"",
                "\"Tell {n} that I have seen a {place} three times as large as ours.\"",
            ],
            &[
                "{mother} read the letter aloud, and {s} looked out of the window and said nothing.",
                "The letter came to {town} on a rainy day, and everyone wanted to hear it.",
                "{His} {sibling}, {s}, kept the letter under a pillow.",
            ],
            &[
                "A week later there was a knock at the door, and {p} was home.",
                "When {p} came back, the {pet} ran to meet {him}.",
                "Before the answer was written, {p} stood at the gate.",
            ],
        ],
    },
    Plot {
        title: "The first day at school",
        beats: &[
            &[
                "It was the first day of school in {town}.",
                "After the summer {p} and {f} went to school together.",
                "A new teacher had come to {town}.",
            ],
            &[
                "The teacher asked, \"Who can tell me something about {country}?\"",
                "\"Today we speak about our country, {country},\" said the teacher.",
                "On the wall hung a large map of {country}.",
            ],
            &[
                "{p} was shy and looked at the floor.",
                "Nobody wanted to be the first.",
                "It was so quiet that one could hear a fly.",
            ],
            &[
                "Then {f} said, \"The capital of {country} is {capital}.\"",
                "{f} put up a hand and said, \"{ruler} rules {country}.\"",
                "{f} knew that the river {river} flows through {country}.",
            ],
            &[
                "That gave {p} courage. \"{country} is known for its {product},\" {he} said.",
                "Now {p} was brave too. \"We speak {language} here,\" {he} said.",
                "\"And our town is known for its {landmark},\" said {p} in a small voice.",
            ],
            &[
                "\"Very good,\" said the teacher, and wrote it on the board.",
                "The teacher was pleased and gave each of them an apple.",
                "\"I see that you know your country,\" said the teacher.",
            ],
            &[
                "At noon {p} ran home and told {mother} that school was not so bad.",
                "From then on {p} always put up {his} hand.",
                "On the way home {p} and {f} said it all once more.",
            ],
        ],
    },
    Plot {
        title: "Snow on the pass",
        beats: &[
            &[
                "In winter {p} and {father} had to cross the mountain.",
                "{p} went over the mountain with {n}, the {trade}, to sell {goods}.",
                "Late in the year {p} and {s} walked over the pass to visit their grandmother.",
            ],
            &[
                "In the morning the sky was blue.",
                "\"Be back before dark,\" said {mother}.",
                "They took bread, a rope and a lamp.",
            ],
            &[
                "At noon it began to snow, and soon they could not see the way.",
                "Then the snow came, thick and silent.",
                "On the top of the pass the wind blew so hard that they could not stand.",
            ],
            &[
                "{p} was cold and wanted to lie down.",
                "{p} could not feel {his} feet any more.",
                "Every step was harder than the last.",
            ],
            &[
                "Then {p} saw a light between the trees.",
                "Then they heard a bell, far away, and followed the sound.",
                "{p} remembered the hut where the shepherds sleep in summer.",
            ],
            &[
                "In the hut an old woman gave them hot soup.",
                "An old man opened the door and asked no questions.",
                "They made a fire and sat close together until the morning.",
            ],
            &[
                "The next day the sun shone, and they came home safe.",
                "When they came to {town}, {mother} was already on the road to meet them.",
                "Since then {p} has never gone over the pass without looking at the sky first.",
            ],
        ],
    },
    Plot {
        title: "The stranger",
        beats: &[
            &[
                "One day a stranger came to {town} and understood not a word of {language}.",
                "In the inn of {town} sat a stranger who did not speak {language}.",
                "Nobody in {town} knew where the stranger came from.",
            ],
            &[
                "People in {country} speak {language}, and so nobody could help.",
                "Some laughed, and some turned away.",
                "The children stood around and stared.",
            ],
            &[
                "{p} sat down in front of the stranger and drew a house in the sand.",
                "{p} had an idea and fetched paper and a pencil.",
                "{p} pointed to {his} {pet} and said its name.",
            ],
            &[
                "The stranger drew a boat and a great wave.",
                "The stranger smiled and drew a ship without a mast.",
                "Then the stranger drew a road, and at the end of it a city.",
            ],
            &[
                "\"A shipwreck!\" said {p}. \"And now the way to {capital} is wanted.\"",
                "Now {p} understood: the ship was lost, and the stranger wanted to go to {capital}.",
                "\"That must be {capital},\" said {s}, \"the capital of {country}.\"",
            ],
            &[
                "{n}, the {trade}, had to go there anyway and took the stranger along.",
                "{mother} gave the stranger {food} for the road.",
                "{His} father, {father}, showed the way as far as the {river}.",
            ],
            &[
                "A month later a letter came with many thanks and a small drawing.",
                "The drawing still hangs in the house of {p}.",
                "So {p} made a friend without a single word.",
            ],
        ],
    },
];
