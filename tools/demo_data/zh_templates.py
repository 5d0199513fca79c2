"""Instruction templates for `demo_zh`, per kind of exercise. `x` is what the exercise is about."""

from __future__ import annotations

from demo_data.common import Split

TEMPLATES: dict[str, dict[Split, tuple[str, ...]]] = {
    "antonym": {
        "train": (
            "写出“{x}”的反义词。",
            "“{x}”的反义词是什么？",
            "反义词练习：{x}",
            "请说出“{x}”的反义词。",
        ),
        "validation": ("“{x}”反过来说是？", "找一个词，跟“{x}”相反。"),
        "test": ("哪个词和“{x}”意思相反？", "与“{x}”意思相反的词："),
    },
    "measure": {
        "train": (
            "填上合适的量词：一（ ）{x}",
            "“一__{x}”，空格里填什么量词？",
            "{x}的量词是什么？",
            "请给“{x}”配一个量词。",
            "量词练习：一（？）{x}",
        ),
        "validation": ("数“{x}”的时候用哪个量词？", "补上量词：两（ ）{x}"),
        "test": ("三（ ）{x}，括号里应当是哪个量词？", "说“{x}”要搭配什么量词？"),
    },
    "category": {
        "train": (
            "{x}属于哪一类？",
            "请写出“{x}”的类别。",
            "给“{x}”分类。",
            "“{x}”是什么类别的东西？",
            "分类练习：{x}",
        ),
        "validation": ("把“{x}”归到一个类别里。", "“{x}”算哪一种？"),
        "test": ("{x}应该归入哪个类别？", "想一想，“{x}”是哪类事物？"),
    },
    "doubled": {
        "train": (
            "照样子写词：大方——大大方方，{x}——",
            "把“{x}”写成AABB的形式。",
            "“{x}”变成叠词是什么？",
            "请把“{x}”的每个字重复一次。",
            "叠词练习：{x}",
        ),
        "validation": ("用AABB的样子写“{x}”。", "每个字说两遍：{x}"),
        "test": (
            "“{x}”的AABB式怎么写？",
            "让“{x}”里的字一个一个叠起来。",
            "改写成四个字的叠词：{x}",
        ),
    },
    "question": {
        "train": (
            "把句子改成问句：{x}。",
            "用“吗”提问：{x}。",
            "把“{x}。”变成疑问句。",
            "疑问句练习：{x}。",
        ),
        "validation": ("在句尾加“吗”：{x}。", "请改问句——{x}。"),
        "test": ("“{x}。”这句话怎么改成带“吗”的问话？", "换成问的语气（用“吗”）：{x}。"),
    },
    "negation": {
        "train": (
            "把句子改成否定句：{x}。",
            "用“不”改写：{x}。",
            "把“{x}。”变成否定的说法。",
            "否定句练习：{x}。",
        ),
        "validation": ("加上“不”字再写：{x}。", "请否定这句：{x}。"),
        "test": ("“{x}。”的否定说法是什么？", "表示相反的意思（用“不”）：{x}。"),
    },
    "who": {
        "train": (
            "{name}在{place}{act}。谁在{act}？",
            "读一读，答一答：{name}在{place}{act}。是谁在{place}？",
            "{name}和朋友在{place}{act}。谁和朋友在一起？",
            "在{place}，{name}正在{act}。正在{act}的人是谁？",
        ),
        "validation": (
            "那天{place}没有别人，只有{name}在{act}。只有谁在{act}？",
            "看，{name}到{place}来{act}了。谁来了？",
        ),
        "test": (
            "今天{name}去{place}{act}。去{place}的是谁？",
            "听说{name}常到{place}{act}。说的是谁？",
        ),
    },
    "where": {
        "train": (
            "{name}在{place}{act}。{name}在哪里？",
            "读一读，答一答：{name}在{place}{act}。在哪儿{act}？",
            "{name}和朋友在{place}{act}。他们在什么地方？",
            "在{place}，{name}正在{act}。这是在哪里？",
        ),
        "validation": (
            "{name}从家里走到{place}，开始{act}。走到了哪里？",
            "看，{name}到{place}来{act}了。到了哪里？",
        ),
        "test": (
            "今天{name}去{place}{act}。要去哪儿？",
            "听说{name}常到{place}{act}。常到什么地方？",
        ),
    },
    "count": {
        "train": (
            "{x}，一共有几样东西？",
            "数一数有几个词：{x}",
            "“{x}”里有几样？",
            "计数练习：{x}",
        ),
        "validation": ("请数出词语的个数：{x}", "下面列了几项？{x}"),
        "test": ("清单上写着{x}，总共几项？", "算算这里有多少个名称：{x}"),
    },
    "reverse": {
        "train": (
            "把词语倒过来排：{x}",
            "从后往前写：{x}",
            "请把“{x}”的顺序反过来。",
            "倒序练习：{x}",
        ),
        "validation": ("倒着念一遍这些词：{x}", "最后的放最前：{x}"),
        "test": ("{x}——请按相反的次序列出。", "由尾到头重新写这串词：{x}"),
    },
    "passive": {
        "train": (
            "改成“被”字句：{x}。",
            "用“被”改写句子：{x}。",
            "把“{x}。”变成被字句。",
            "被字句练习：{x}。",
        ),
        "validation": ("请用“被”再说一次：{x}。", "句子里加“被”：{x}。"),
        "test": ("“{x}。”用“被”字怎么说？", "换一种说法（用“被”）：{x}。"),
    },
}
