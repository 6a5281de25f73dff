//! Plots about work and the market: an apprentice, a lost coin, a broken tool, a contest, a house on fire, a lazy day.

use super::Plot;

pub(crate) static PLOTS: [Plot; 7] = [
    Plot {
        title: "A day with the {trade}",
        beats: &[
            &[
                "{p} wanted to learn a trade, so {he} went to {n}, the {trade}.",
                "One day {p} asked {n}, {a trade}, for work.",
                "{n} was {a trade} and needed a pair of hands, so {p} came to help.",
            ],
            &[
                "{n} took {him} to the {place}, because that is where {a trade} works.",
                "They went to the {place}, where {a trade} spends the day.",
                "{p} had never been inside {a place} before.",
            ],
            &[
                "\"This is {a tool},\" said {n}. \"It is the tool of {a trade}.\"",
                "{n} gave {him} {a tool}, for no {trade} can work without one.",
                "On a hook hung {a tool}, the tool of every {trade}.",
            ],
            &[
                "The first try went wrong, and so did the second.",
                "At first {p} held the {tool} the wrong way round.",
                "{p} worked too fast and spoiled what {he} had begun.",
            ],
            &[
                "\"Slowly,\" said {n}. \"Look at my hands.\"",
                "{n} laughed and showed {him} once more.",
                "But {n} was patient, and {p} began again.",
            ],
            &[
                "By the evening {p} had learned how {a trade} makes {goods}.",
                "When the bell rang, {p} had helped to make {goods}.",
                "At the end of the day there were new {goods} in the {place}.",
            ],
            &[
                "\"Come back tomorrow,\" said {n}.",
                "{n} paid {him} one silver coin.",
                "\"One day you will be a good {trade},\" said {n}.",
            ],
        ],
    },
    Plot {
        title: "The silver coin",
        beats: &[
            &[
                "On the way to the market {p} found a silver coin.",
                "In the street, near the {landmark}, {p} found a silver coin.",
                "One day there was something bright in the dust, and {p} picked it up: a silver coin.",
            ],
            &[
                "With so much money {he} could buy {food} for a whole week.",
                "{p} thought of all the {food} that it would buy.",
                "\"Let us buy {food},\" said {s} at once.",
            ],
            &[
                "But then {he} saw {n}, the {trade}, who looked for something on the ground.",
                "But at the corner stood {n}, the {trade}, with empty pockets and a sad face.",
                "Then {he} heard that {n}, the {trade}, had lost a coin.",
            ],
            &[
                "{p} held the coin tight and thought for a long time.",
                "It was not easy for {p} to decide.",
                "Nobody had seen {him} pick it up.",
            ],
            &[
                "Then {he} opened {his} hand and said, \"Is this yours?\"",
                "At last {he} went up to {n} and gave back the coin.",
                "\"I found it,\" said {p}, and held out the coin.",
            ],
            &[
                "{n} was so glad that {n.he} laughed out loud.",
                "{n} thanked {him} and asked what {he} would like.",
                "\"There are still honest people,\" said {n}.",
            ],
            &[
                "The next day {n} brought a dish of {food} to the door.",
                "As thanks {p} was allowed to spend a day in the {place} and use the {tool}.",
                "{n} told all of {town} how honest {p} was.",
            ],
        ],
    },
    Plot {
        title: "The broken {tool}",
        beats: &[
            &[
                "{n} of {town} was {a trade}, and everyone needed {n.his} {goods}.",
                "It was the week before the fair, and {n}, the {trade}, had more work than ever.",
                "{n} worked as {a trade} in the same street.",
            ],
            &[
                "Then {n.his} {tool} broke.",
                "On Monday morning the {tool} broke in two.",
                "But one day something cracked, and the {tool} was broken.",
            ],
            &[
                "Without {a tool}, {a trade} cannot work.",
                "{A trade} without {a tool} can only sit and wait.",
                "No {tool}, no {goods}: so it is for {a trade}.",
            ],
            &[
                "{p} saw {n} sit in front of the {place} and asked what was wrong.",
                "{p} came by and heard of it.",
                "When {p} came to the {place}, it was quiet there.",
            ],
            &[
                "{He} remembered that an old {tool} lay in the attic at home.",
                "{He} ran home to {father}, who had an old {tool}.",
                "\"I know who has one,\" said {p}, and ran off as fast as {he} could.",
            ],
            &[
                "An hour later {n} held {a tool} in {n.his} hands again.",
                "Before noon {p} was back, out of breath, with {a tool} under {his} arm.",
                "It was old, but it was still a good {tool}.",
            ],
            &[
                "{n} worked all night, and at the fair there were {goods} for everyone.",
                "The {goods} were ready in time.",
                "At the fair {n} sold all the {goods} and shared the money with {p}.",
            ],
        ],
    },
    Plot {
        title: "The contest",
        beats: &[
            &[
                "Once a year {town} holds a contest for the best {food}.",
                "At the fair of {town} there was a prize for the best {food}.",
                "\"Whoever makes the best {food} shall have a goose,\" said the mayor of {town}.",
            ],
            &[
                "{p} and {f} both wanted to win.",
                "{p} wanted the prize, and so did {f}.",
                "{p} asked {s} to help, and {f} worked alone.",
            ],
            &[
                "{p} cooked from morning to night.",
                "{His} mother, {mother}, showed {p} how it is done.",
                "For a week {p} thought of nothing else.",
            ],
            &[
                "But on the great day {f} dropped the dish on the way.",
                "But on the morning of the fair {f} came without anything: it had all burned.",
                "Then the {pet} jumped on the table of {f}, and everything fell to the ground.",
            ],
            &[
                "{f} sat down by the road and wept.",
                "{f} said that it did not matter, but it did.",
                "Some people laughed at {f}, but {p} did not.",
            ],
            &[
                "\"There is enough for two,\" said {p}. \"We say that we made it together.\"",
                "{p} put {his} dish between them and called {f} over.",
                "{p} cut the {food} in two and gave one half to {f}.",
            ],
            &[
                "They won, and gave the goose to {n}, who had none.",
                "They did not win, but they ate the {food} together and were happy.",
                "The judges liked it so well that they gave the prize to both.",
            ],
        ],
    },
    Plot {
        title: "Smoke",
        beats: &[
            &[
                "One dry summer evening there was smoke above the {place} of {n}.",
                "{p} saw it first: smoke came from the {place} where {n} works.",
                "It had not rained in {town} for weeks. Then {p} smelled smoke.",
            ],
            &[
                "{n}, the {trade}, had left a candle beside the {goods}.",
                "A spark had fallen on the floor.",
                "The wind had blown a lamp from the wall.",
            ],
            &[
                "{p} ran through the street and called, \"Fire!\"",
                "{p} rang the bell as hard as {he} could.",
                "{p} knocked at every door from one end of the street to the other.",
            ],
            &[
                "Men and women came with buckets, and they made a line from the well.",
                "{father} and {mother} came at once with all the buckets they had.",
                "Soon the whole street was on its feet, and water went from hand to hand.",
            ],
            &[
                "{s} carried the {pet} to safety.",
                "{f} held the ladder.",
                "{n} pulled the {tool} out at the last moment.",
            ],
            &[
                "After an hour the fire was out.",
                "When the moon rose, there was only smoke.",
                "At last there was no flame to be seen.",
            ],
            &[
                "The roof was gone, but nobody was hurt, thanks to {p}.",
                "\"If {p} had not seen it,\" said {n}, \"I would have lost everything.\"",
                "The next day all the neighbours helped to build it up again.",
            ],
        ],
    },
    Plot {
        title: "The lazy day",
        beats: &[
            &[
                "{His} father, {father}, asked {p} to carry wood into the house.",
                "\"Please bring in the wood before it rains,\" said {mother} to {p}.",
                "There was wood to carry, and it was the turn of {p}.",
            ],
            &[
                "But the sun was warm, and {p} lay down in the grass with {his} {pet}.",
                "But {f} came by with a ball, and {p} went to play.",
                "\"Later,\" said {p}, and ate some {food}.",
            ],
            &[
                "\"The clouds are black,\" said {s}, but {p} did not listen.",
                "One cloud came, and then another.",
                "{n}, the {trade}, looked up at the sky and went indoors.",
            ],
            &[
                "Then it began to rain, and it rained for two days.",
                "In the afternoon the rain came down like a river.",
                "Suddenly there was thunder, and everything was wet.",
            ],
            &[
                "Wet wood does not burn, and so the house stayed cold.",
                "There was no dry wood, and so there was no warm supper.",
                "The stove stayed cold because all the wood was wet.",
            ],
            &[
                "Nobody scolded {him}, and that was the worst of it.",
                "{p} sat in three coats and was ashamed.",
                "{s} said nothing and only blew on cold fingers.",
            ],
            &[
                "When the sun came back, {p} carried all the wood without being asked.",
                "The next time {father} asked for something, {p} did it at once.",
                "After the rain {p} went to {n} and fetched dry wood for the whole street.",
            ],
        ],
    },
    Plot {
        title: "Market day in {town}",
        beats: &[
            &[
                "It was market day, and {p} went along with {mother}.",
                "On market day {p} was allowed to come with {father}.",
                "Every week there is a market near the {landmark}, and {p} went there with {s}.",
            ],
            &[
                "{n}, the {trade}, sold {goods}, for that is what {a trade} makes.",
                "At the first table stood {n}, {a trade}, behind a hill of {goods}.",
                "A trader from {capital} sold {product}, for which {country} is known.",
            ],
            &[
                "{p} had only three coins and wanted to spend them well.",
                "In {his} pocket {p} had two coins, one for {him} and one for {s}.",
                "{p} had saved some money for a present.",
            ],
            &[
                "{He} looked at the hats, the cups and the bells.",
                "There was so much to see that {he} forgot the time.",
                "Someone played a drum, and someone danced.",
            ],
            &[
                "Then {he} saw {f}, who had lost all {f.his} money through a hole in a pocket.",
                "Then a small child cried because a cake had fallen into the mud.",
                "Suddenly the {pet} jumped from {his} arms and ran between the tables.",
            ],
            &[
                "So {p} bought {food} and shared it.",
                "{p} did not think long: {he} bought {food} for both of them.",
                "In the end everybody laughed, and {p} bought {food} with the last coin.",
            ],
            &[
                "On the way home {his} pockets were empty, but {he} was happy.",
                "\"What did you buy?\" asked {s}. \"A good day,\" said {p}.",
                "They came home when the lamps were lit.",
            ],
        ],
    },
];
