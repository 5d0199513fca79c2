"""Records -> comparable pairs -> measurements -> a study.

```text
 records.Evaluation (record + samples)
    | terms    which differences between base and tuned are tolerated
    v
 pairing.Pairs             the items that both sides have, in one order
    | measurement
    v
 Difference                one metric on these items: base, tuned, delta, interval, p
    | rows
    v
 study.Row                 a Difference with its names and verdict: one object of rows.json
    | cautions, sentences, cases
    v
 study.Comparison          the rows of one base and one tuned evaluation, in words
    | families, repeats, features
    v
 study.Study               everything a report shows
```

Each stage has one name for its result: a `Difference` is anonymous, a `Row` names what was
measured, a `Comparison` holds the rows of one pair of evaluations, its `headline` is the row that
answers the question, and a `Study` holds the comparisons.
This wing needs neither torch nor lm-eval.
"""
