"""Whole-passage templates for `demo_qa` whose questions repeat the wording of one sentence: the
regular half.

Slots carry a number, so that two fillers of one type never meet: `p1`, `p2` names, `t` things, `l`
places, `w` towns, `d` weekdays, `m` months, `c` colours, `n` numbers, `a` animals, `f` foods, `j`
jobs. After the passage stand pairs of a question and the slot that answers it.
"""

from __future__ import annotations

from demo_data.common import Split

Card = tuple[str, tuple[tuple[str, str], ...]]

CARDS: dict[Split, tuple[Card, ...]] = {
    "train": (
        (
            "The {t1} belongs to {p1}, but {p2} painted it. It is {c1} today. Last year it was {c2}.",
            (
                ("Who does the {t1} belong to?", "p1"),
                ("Who painted the {t1}?", "p2"),
                ("What colour is the {t1} today?", "c1"),
                ("What colour was the {t1} last year?", "c2"),
            ),
        ),
        (
            "Lost near the {l1}: one {c1} {t1}. If you find it, please call {p1}. {p2} is the owner of the {t1}"
            " and will"
            " pay {n1} dollars.",
            (
                ("Whom should you call?", "p1"),
                ("Who is the owner of the {t1}?", "p2"),
                ("What colour is the {t1}?", "c1"),
                ("How many dollars will the owner pay?", "n1"),
            ),
        ),
        (
            "The name of the captain is {p1}. The name of the cook is {p2}. Their ship sails from {w1} to {w2}.",
            (
                ("What is the name of the captain?", "p1"),
                ("What is the name of the cook?", "p2"),
                ("Where does the ship sail from?", "w1"),
                ("Where does the ship sail to?", "w2"),
            ),
        ),
        (
            "The club has {n1} members and {n2} bats. It meets every {d1} at the {l1}. The leader of the club is"
            " {p1}, and"
            " the treasurer is {p2}.",
            (
                ("How many members does the club have?", "n1"),
                ("How many bats does the club have?", "n2"),
                ("Who is the leader of the club?", "p1"),
                ("Who is the treasurer?", "p2"),
            ),
        ),
        (
            "For breakfast they had {f1}. For lunch they had {f2}. {p1} set the table and {p2} washed up.",
            (
                ("What did they have for breakfast?", "f1"),
                ("What did they have for lunch?", "f2"),
                ("Who set the table?", "p1"),
                ("Who washed up?", "p2"),
            ),
        ),
        (
            "In the first round {p1} won a(n) {t1}. In the second round {p2} won a(n) {t2}. The final was held at"
            " the {l1}.",
            (
                ("Who won in the first round?", "p1"),
                ("Who won in the second round?", "p2"),
                ("What could be won in the first round?", "t1"),
                ("What could be won in the second round?", "t2"),
            ),
        ),
        (
            "The house has a(n) {c1} door and a(n) {c2} roof. {p1} lives upstairs. {p2} lives downstairs with {n1}"
            " cats.",
            (
                ("What colour is the door?", "c1"),
                ("What colour is the roof?", "c2"),
                ("Who lives upstairs?", "p1"),
                ("Who lives downstairs?", "p2"),
                ("How many cats live downstairs?", "n1"),
            ),
        ),
        (
            "The train leaves {w1} on {d1} and reaches {w2} on {d2}. It has {n1} coaches and {n2} beds.",
            (
                ("When does the train leave?", "d1"),
                ("When does the train reach {w2}?", "d2"),
                ("How many coaches does the train have?", "n1"),
                ("How many beds does the train have?", "n2"),
            ),
        ),
        (
            "My older cousin is called {p1} and works as a(n) {j1}."
            " My younger cousin is called {p2} and works as a(n) {j2}.",
            (
                ("What is the older cousin called?", "p1"),
                ("What is the younger cousin called?", "p2"),
                ("What does the older cousin work as?", "j1"),
                ("What does the younger cousin work as?", "j2"),
            ),
        ),
        (
            "The left box holds a(n) {t1}. The right box holds a(n) {t2}. Both boxes were sent from {w1} to {p1}.",
            (
                ("What does the left box hold?", "t1"),
                ("What does the right box hold?", "t2"),
                ("Who got the boxes?", "p1"),
            ),
        ),
        (
            "The concert starts on {d1}; the play starts on {d2}. {p1} sings in the concert. {p2} acts in the play.",
            (
                ("When does the concert start?", "d1"),
                ("When does the play start?", "d2"),
                ("Who sings in the concert?", "p1"),
                ("Who acts in the play?", "p2"),
            ),
        ),
        (
            "Ticket for {p1}. Seat {n1}, row {n2}. From {w1} to {w2}. Bags: one {t1}.",
            (
                ("Who is the ticket for?", "p1"),
                ("What is the number of the seat?", "n1"),
                ("What is the number of the row?", "n2"),
                ("Where is the traveller going to?", "w2"),
            ),
        ),
        (
            "The {a1} sleeps in the barn near the {l1}. The {a2} sleeps in the shed. {p1} feeds them {n1} times a"
            " week.",
            (
                ("Which animal sleeps in the barn?", "a1"),
                ("Which animal sleeps in the shed?", "a2"),
                ("Who feeds them?", "p1"),
                ("How many times a week are they fed?", "n1"),
            ),
        ),
        (
            "To open the gate, press the {c1} button. To close the gate, press the {c2} button. If it sticks,"
            " ask {p1} or go"
            " to the {l1}.",
            (
                ("Which button opens the gate?", "c1"),
                ("Which button closes the gate?", "c2"),
                ("Whom can you ask if the gate sticks?", "p1"),
            ),
        ),
        (
            "The sales begin in {m1} and end in {m2}. A(n) {t1} costs {n1} dollars and a(n) {t2} costs {n2} dollars.",
            (
                ("When do the sales begin?", "m1"),
                ("When do the sales end?", "m2"),
                ("How many dollars does the {t1} cost?", "n1"),
                ("How many dollars does the {t2} cost?", "n2"),
            ),
        ),
        (
            "The road north leads to the {l1}. The road south leads to the {l2}. {p1} lives beside the road north.",
            (
                ("Where does the road north lead to?", "l1"),
                ("Where does the road south lead to?", "l2"),
                ("Who lives beside the road north?", "p1"),
            ),
        ),
        (
            "{p1} founded the firm in {w1}. Today it belongs to {p2}. It has {n1} workers and makes one {t1} every"
            " hour.",
            (
                ("Who founded the firm?", "p1"),
                ("Who does the firm belong to today?", "p2"),
                ("Where was the firm founded?", "w1"),
                ("How many workers does the firm have?", "n1"),
            ),
        ),
        (
            "A note on the desk says: meet {p1} at the {l1} on {d1}. A note on the shelf says: meet {p2} at the"
            " {l2} on {d2}.",
            (
                ("Who is named in the note on the desk?", "p1"),
                ("Who is named in the note on the shelf?", "p2"),
                ("Where is the meeting in the note on the desk?", "l1"),
                ("When is the meeting in the note on the shelf?", "d2"),
            ),
        ),
        (
            "Old map, sheet {n1}. Drawn by {p1} in {w1}. Printed by {p2} in {w2}.",
            (
                ("Who drew the map?", "p1"),
                ("Who printed the map?", "p2"),
                ("Where was it drawn?", "w1"),
                ("Where was it printed?", "w2"),
            ),
        ),
        (
            "The twins have presents for their parents. The mother gets a(n) {c1} {t1}. The father gets a(n) {c2}"
            " {t2}.",
            (
                ("What does the mother get?", "c1 t1"),
                ("What does the father get?", "c2 t2"),
                ("What colour is the present for the mother?", "c1"),
                ("What colour is the present for the father?", "c2"),
            ),
        ),
        (
            "{p1} is taller than {p2}. The taller one owns a(n) {t1}, and the smaller one owns a(n) {t2}.",
            (
                ("What does the taller one own?", "t1"),
                ("What does the smaller one own?", "t2"),
                ("Who is taller?", "p1"),
            ),
        ),
    ),
    "validation": (
        (
            "Recipe by {p1}, tested by {p2}. Mix {n1} spoons of {f1} with {n2} spoons of {f2}.",
            (
                ("Who is the recipe by?", "p1"),
                ("Who tested the recipe?", "p2"),
                ("How many spoons of {f1} are needed?", "n1"),
                ("How many spoons of {f2} are needed?", "n2"),
            ),
        ),
        (
            "The big parcel is for {p1}. The tiny parcel is for {p2}. The big parcel came in {m1} from {w1}.",
            (
                ("Who is the big parcel for?", "p1"),
                ("Who is the tiny parcel for?", "p2"),
                ("Where did the big parcel come from?", "w1"),
                ("When did the big parcel come?", "m1"),
            ),
        ),
        (
            "Upper drawer: {t1}. Lower drawer: {t2}. The key is with {p1}, who works at the {l1}.",
            (
                ("What lies in the upper drawer?", "t1"),
                ("What lies in the lower drawer?", "t2"),
                ("Who has the key?", "p1"),
            ),
        ),
        (
            "The bridge was planned by {p1}, a(n) {j1} from {w1}, and built by {p2}, a(n) {j2} from {w2}.",
            (
                ("Who planned the bridge?", "p1"),
                ("Who built the bridge?", "p2"),
                ("What was the job of the planner?", "j1"),
                ("Where did the builder come from?", "w2"),
            ),
        ),
        (
            "Flag of the home team: {c1}. Flag of the visiting team: {c2}. The home team scored {n1} goals.",
            (
                ("What colour is the flag of the home team?", "c1"),
                ("What colour is the flag of the visiting team?", "c2"),
                ("How many goals did the home team score?", "n1"),
            ),
        ),
        (
            "Our uncle keeps a(n) {c1} {a1}, and our aunt keeps a(n) {c2} {a2}. {p1} walks them both.",
            (
                ("Which animal does the uncle keep?", "a1"),
                ("Which animal does the aunt keep?", "a2"),
                ("Who walks both animals?", "p1"),
            ),
        ),
        (
            "The lecture is given at the {l1}, and the exam is held at the {l2}. Ask {p1} for a ruler and {p2} for"
            " a pen.",
            (
                ("Where is the lecture given?", "l1"),
                ("Where is the exam held?", "l2"),
                ("Whom do you ask for a pen?", "p2"),
            ),
        ),
    ),
    "test": (
        (
            "The goalkeeper is {p1} and the coach is {p2}. Their jerseys are {c1}. Their socks are {c2}.",
            (
                ("Who is the goalkeeper?", "p1"),
                ("Who is the coach?", "p2"),
                ("What colour are the jerseys?", "c1"),
                ("What colour are the socks?", "c2"),
            ),
        ),
        (
            "Message from {p1} to {p2}: the {t1} is ready, the {t2} is not. Bring {n1} euros to the {l1}.",
            (
                ("Who is the message from?", "p1"),
                ("Who is the message to?", "p2"),
                ("What is ready?", "t1"),
                ("Where should the money be brought?", "l1"),
            ),
        ),
        (
            "The spring festival takes place in {w1}, the harvest festival in {w2}. Last time {n1} guests came"
            " to the spring"
            " festival and {n2} to the harvest festival.",
            (
                ("Where is the spring festival?", "w1"),
                ("Where is the harvest festival?", "w2"),
                ("How many guests came to the spring festival?", "n1"),
                ("How many guests came to the harvest festival?", "n2"),
            ),
        ),
        (
            "Exhibit X is a(n) {t1}, found by {p1} in {m1}. Exhibit Y is a(n) {t2}, found by {p2} in {m2}.",
            (
                ("What is exhibit X?", "t1"),
                ("What is exhibit Y?", "t2"),
                ("Who found exhibit X?", "p1"),
                ("When was exhibit Y found?", "m2"),
            ),
        ),
        (
            "For dinner we serve {f1}, and for dessert we serve {f2}. The wine was chosen by {p1}. The music was"
            " chosen by"
            " {p2}.",
            (
                ("What is served for dinner?", "f1"),
                ("What is served for dessert?", "f2"),
                ("Who chose the wine?", "p1"),
                ("Who chose the music?", "p2"),
            ),
        ),
        (
            "The neighbour across the street is a(n) {j1}. The neighbour above us is a(n) {j2}. Their mail is"
            " kept by {p1}.",
            (
                ("What is the job of the neighbour across the street?", "j1"),
                ("What is the job of the neighbour above us?", "j2"),
                ("Who keeps the mail?", "p1"),
            ),
        ),
        (
            "Tour one goes to the {l1} and tour two goes to the {l2}. Tour one is guided by {p1}, tour two by {p2}.",
            (
                ("Where does tour one go?", "l1"),
                ("Where does tour two go?", "l2"),
                ("Who guides tour one?", "p1"),
                ("Who guides tour two?", "p2"),
            ),
        ),
        (
            "The smallest tent is {c1}, the largest tent is {c2}. A(n) {a1} dozes in the smallest tent.",
            (
                ("What colour is the smallest tent?", "c1"),
                ("What colour is the largest tent?", "c2"),
                ("Which animal dozes in the smallest tent?", "a1"),
            ),
        ),
    ),
}
