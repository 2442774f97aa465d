#!/usr/bin/env python3
"""Write verdicts.json: what lm-eval's IFEval checks say about made-up responses.

    NLTK_DATA=DIR make_verdicts.py [--texts FILE] [--count N] [--out verdicts.json]

Needs lm_eval 0.4.13, nltk with punkt_tab under NLTK_DATA, and langdetect 1.0.9, whose generator is seeded with 0 here.
Each row: the documents' columns, the response, and the strict and loose verdicts an instruction. Thresholds are drawn at
the count that the response has, so that one word or sentence more or less shows. --texts names a file of other texts,
one JSON string a line, for larger checks that are not kept.
"""
import argparse
import json
import os
import random

import langdetect
from langdetect import DetectorFactory

DetectorFactory.seed = 0

from lm_eval.tasks.ifeval import instructions_util, utils  # noqa: E402

SENTENCES = [
    "Dr. Smith went to Washington D.C. on Jan. 5th and met Mr. J. R. Jones, Jr. at 3 p.m. sharp.",
    "It cost $3.50, i.e. about 2.9 euros... Who knew? Nobody!",
    "\"Stop!\" he said. \"Why?\" she asked. (They left.) Then it rained.",
    "The U.S. economy grew by 2.5 percent vs. 1.9 percent a year ago. Analysts were surprised.",
    "See www.example.com/a,b or write to info@example.org for more; e.g. Section 4.2.1 of vol. 3.",
    "“Curly quotes end here.” Another one begins ‘like this.’ And «guillemets too.» Done",
    "NASA and the FBI DON'T comment. I can't, won't and shouldn't've known; 'tis what it is.",
    "We live in Paris, France. It's 10 a.m. now. The temp. is 20 degrees. OK?",
    "Is this the end?! Yes... no. Well -- maybe. So be it!!! Fine.",
    "St. Louis is on the Mississippi. A. B. Cooper lives there. So does Ms. Lee.",
    "1. First item. 2. Second item. 3. Third item",
    "The answer is 42.Next sentence has no space.Neither does this",
    "Hello world",
    "HELLO WORLD, THIS IS ALL CAPITALS. EVEN THIS ONE. AND THIS TOO",
    "everything is small here. nothing is large, not even the names of london or paris.",
    "The co-op's CEO, Ann O'Neil (born 1970), said: 'We are fine.' Prof. X agreed.",
    "Æsop’s naïve façade cost £5; Straße and ΑΒΓ are letters, ² and Ⅻ are numbers, x_y is one word.",
    "[name], [address] and [date of birth] go here; [] is empty, [a\nb] is broken.",
    "*one* **two** ***three*** * four * ** ** *five*six* **seven*eight**",
    "* a point\n* another point\n- a dash\n  * indented\n** not a point\n*no space",
    "<<A Title>>\nand text << >> <<>> <<<b>>>",
    "Section 1\nfirst\nSECTION 2\nsecond\n Section3 third Section  4",
    "first ***second *** third***",
    "one answer\n******\nanother answer",
    "******\nsame\n******\nsame\n******",
    "{\"a\": [1, 2.5e3, -0, NaN, \"\\u00e9\"], \"a\": null}",
    "```json\n{\"x\": {\"y\": []}}\n```",
    "```\n[1, 2,]\n```",
    "\"a quoted response.\"",
    "My answer is yes. And that is that.",
    "P.S. do not forget\nP.P.S. really",
    "p. s. small and spaced. p. p.s also",
    "Any other questions?",
    "\"Is there anything else I can help with?\"",
    "\n\n'Quote' first.\n\n\"Second!\" paragraph\n\nThird",
    "Line one\nLine two.\n\nLine three, after a gap.\n",
]
LANGUAGES = {
    "de": "Das Wetter ist heute schön, und wir gehen mit den Kindern in den Park, um Eis zu essen.",
    "fr": "Il fait très beau aujourd'hui et nous allons nous promener au parc avec les enfants.",
    "es": "Hoy hace muy buen tiempo y vamos a pasear por el parque con los niños después de comer.",
    "it": "Oggi il tempo è molto bello e andiamo a passeggiare nel parco con i bambini.",
    "pt": "Hoje o tempo está muito bom e vamos passear no parque com as crianças depois do almoço.",
    "fi": "Tänään on kaunis ilma, ja menemme lasten kanssa puistoon syömään jäätelöä.",
    "sw": "Leo hali ya hewa ni nzuri sana na tutakwenda bustanini pamoja na watoto wetu.",
    "vi": "Hôm nay thời tiết rất đẹp và chúng tôi đi dạo trong công viên với các con.",
    "vi2": "Ho\u0302m nay tho\u031b\u0300i tie\u0302\u0301t ra\u0302\u0301t \u0111e\u0323p va\u0300 chu\u0301ng to\u0302i \u0111i da\u0323o.",
    "pl": "Dzisiaj jest bardzo ładna pogoda i idziemy z dziećmi do parku na lody.",
    "ro": "Astăzi vremea este foarte frumoasă și mergem în parc cu copiii noștri.",
    "ru": "Сегодня очень хорошая погода, и мы идём гулять в парк вместе с детьми.",
    "bg": "Днес времето е много хубаво и ще отидем с децата в парка на разходка.",
    "uk": "Сьогодні дуже гарна погода, і ми йдемо гуляти до парку разом із дітьми.",
    "ar": "الطقس جميل جدا اليوم وسوف نذهب إلى الحديقة مع الأطفال.",
    "fa": "امروز هوا خیلی خوب است و ما با بچه ها به پارک می رویم.",
    "ur": "آج موسم بہت اچھا ہے اور ہم بچوں کے ساتھ باغ میں جا رہے ہیں۔",
    "he": "מזג האוויר יפה מאוד היום ואנחנו הולכים לפארק עם הילדים.",
    "hi": "आज मौसम बहुत अच्छा है और हम बच्चों के साथ बगीचे में जा रहे हैं।",
    "mr": "आज हवामान खूप छान आहे आणि आम्ही मुलांसोबत बागेत जात आहोत.",
    "ne": "आज मौसम धेरै राम्रो छ र हामी केटाकेटीसँग बगैंचामा जाँदैछौं।",
    "bn": "আজ আবহাওয়া খুব সুন্দর এবং আমরা বাচ্চাদের সাথে পার্কে যাচ্ছি।",
    "gu": "આજે હવામાન ખૂબ સરસ છે અને અમે બાળકો સાથે બગીચામાં જઈએ છીએ.",
    "pa": "ਅੱਜ ਮੌਸਮ ਬਹੁਤ ਵਧੀਆ ਹੈ ਅਤੇ ਅਸੀਂ ਬੱਚਿਆਂ ਨਾਲ ਬਾਗ ਵਿੱਚ ਜਾ ਰਹੇ ਹਾਂ।",
    "ta": "இன்று வானிலை மிகவும் நன்றாக உள்ளது, நாங்கள் குழந்தைகளுடன் பூங்காவிற்கு செல்கிறோம்.",
    "te": "ఈ రోజు వాతావరణం చాలా బాగుంది మరియు మేము పిల్లలతో పార్కుకు వెళ్తున్నాము.",
    "kn": "ಇಂದು ಹವಾಮಾನ ತುಂಬಾ ಚೆನ್ನಾಗಿದೆ ಮತ್ತು ನಾವು ಮಕ್ಕಳೊಂದಿಗೆ ಉದ್ಯಾನವನಕ್ಕೆ ಹೋಗುತ್ತೇವೆ.",
    "th": "วันนี้อากาศดีมาก และเราจะไปเดินเล่นในสวนสาธารณะกับเด็กๆ",
    "ja": "今日はとても天気が良いので、子供たちと公園へ散歩に行きます。アイスも食べます。",
    "ko": "오늘은 날씨가 매우 좋아서 아이들과 함께 공원에 산책하러 갑니다.",
    "zh": "今天天气很好，我们要和孩子们一起去公园散步，然后吃冰淇淋。",
    "tw": "今天天氣很好，我們要和孩子們一起去公園散步，然後吃冰淇淋。",
    "mixed": "OK Google: Сегодня погода, https://example.com/a?b=c mail@example.com и парк.",
    "none": "12345 67890 !!! ???",
}
WORDS = ["answer", "the", "point", "rain", "paris", "is", "a", "first", "Dr", "so"]


def response(rng, texts):
    kind = rng.random()
    if texts:
        text = rng.choice(texts)
    elif kind < 0.25:
        text = rng.choice(list(LANGUAGES.values()))
    else:
        text = rng.choice([" ", "\n", "\n\n", "  "]).join(rng.sample(SENTENCES, rng.randint(1, 5)))
    change = rng.random()
    if change < 0.08:
        text = text.upper()
    elif change < 0.16:
        text = text.lower()
    elif change < 0.22:
        text = "Sure! Here it is:\n" + text
    elif change < 0.28:
        text = text + "\nI hope this helps!"
    elif change < 0.32:
        text = '"' + text + '"'
    elif change < 0.36:
        text = text.replace(",", "")
    elif change < 0.40:
        text = "**" + text + "**"
    elif change < 0.42:
        text = rng.choice(["", "  \n", "\n\n\n"])
    return text


def near(rng, count):
    return max(1, count + rng.choice([0, 0, 1, 1, -1, 2]))


def relation(rng):
    return rng.choice(["less than", "at least"])


def instruction(rng, text):
    words = [w for w in text.split() if w.isalpha()] or ["word"]
    try:
        found = langdetect.detect(text)
    except langdetect.LangDetectException:
        found = "en"
    if found not in instructions_util.LANGUAGE_CODES:
        found = "en"
    capitals = sum(w.isupper() for w in instructions_util.nltk.word_tokenize(text))
    letter = rng.choice("aeoqtz")
    paragraphs = [p for p in text.split("\n\n") if p.strip()] or ["x"]
    nth = rng.randint(1, len(paragraphs))
    first = (text.split("\n\n") + [""] * 9)[nth - 1].split()
    choices = [
        ("keywords:existence", {"keywords": rng.sample(WORDS + words, 2)}),
        ("keywords:frequency", {"keyword": rng.choice(WORDS), "frequency": rng.randint(1, 3), "relation": relation(rng)}),
        ("keywords:forbidden_words", {"forbidden_words": rng.sample(WORDS + words, 2)}),
        ("keywords:letter_frequency",
         {"letter": letter, "let_frequency": near(rng, text.lower().count(letter)), "let_relation": relation(rng)}),
        ("language:response_language", {"language": rng.choice([found, found, "en", "hi"])}),
        ("length_constraints:number_sentences",
         {"num_sentences": near(rng, instructions_util.count_sentences(text)), "relation": relation(rng)}),
        ("length_constraints:number_sentences",
         {"num_sentences": near(rng, instructions_util.count_sentences(text)), "relation": relation(rng)}),
        ("length_constraints:number_paragraphs", {"num_paragraphs": near(rng, text.count("***"))}),
        ("length_constraints:number_words",
         {"num_words": near(rng, instructions_util.count_words(text)), "relation": relation(rng)}),
        ("length_constraints:nth_paragraph_first_word",
         {"num_paragraphs": max(nth, len(paragraphs) + rng.choice([0, 0, 0, 1])), "nth_paragraph": nth,
          "first_word": rng.choice([first[0].strip("\"'.,?!") or "x" if first else "x", "line", "dr"])}),
        ("detectable_content:number_placeholders", {"num_placeholders": rng.randint(1, 3)}),
        ("detectable_content:postscript", {"postscript_marker": rng.choice(["P.S.", "P.P.S"])}),
        ("detectable_format:number_bullet_lists", {"num_bullets": rng.randint(1, 6)}),
        ("detectable_format:constrained_response", {}),
        ("detectable_format:number_highlighted_sections", {"num_highlights": rng.randint(1, 7)}),
        ("detectable_format:multiple_sections",
         {"section_spliter": rng.choice(["Section", "SECTION"]), "num_sections": rng.randint(1, 3)}),
        ("detectable_format:json_format", {}),
        ("detectable_format:title", {}),
        ("combination:two_responses", {}),
        ("combination:repeat_prompt", {"prompt_to_repeat": rng.choice([text[:20] or "x", text[:9].upper() or "x", "Write"])}),
        ("startend:end_checker",
         {"end_phrase": rng.choice(["Any other questions?", "Is there anything else I can help with?", text[-12:] or "x"])}),
        ("startend:quotation", {}),
        ("change_case:capital_word_frequency",
         {"capital_frequency": near(rng, capitals), "capital_relation": relation(rng)}),
        ("change_case:english_capital", {}),
        ("change_case:english_lowercase", {}),
        ("punctuation:no_comma", {}),
    ]
    return rng.choice(choices)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--texts")
    options.add_argument("--count", type=int, default=700)
    options.add_argument("--seed", type=int, default=7)
    options.add_argument("--out", default=os.path.join(os.path.dirname(__file__), "verdicts.json"))
    chosen = options.parse_args()
    texts = [json.loads(line) for line in open(chosen.texts, encoding="utf-8")] if chosen.texts else []
    rng = random.Random(chosen.seed)
    rows = []
    for key in range(chosen.count):
        text = response(rng, texts)
        pairs = [instruction(rng, text) for _ in range(rng.randint(1, 3))]
        pairs = [(i, {k: v for k, v in a.items()}) for i, a in pairs if all(a.values())]
        doc = {"key": key, "prompt": "Write.", "instruction_id_list": [i for i, _ in pairs], "kwargs": [a for _, a in pairs]}
        if not pairs:
            continue
        found = utils.process_results(doc, [text])
        rows.append({"document": doc, "response": text, "strict": found["inst_level_strict_acc"],
                     "loose": found["inst_level_loose_acc"], "prompt_strict": found["prompt_level_strict_acc"],
                     "prompt_loose": found["prompt_level_loose_acc"]})
    with open(chosen.out, "w", encoding="utf-8") as f:
        f.write("[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n")
    true = sum(sum(row["strict"]) for row in rows)
    print(len(rows), "rows,", sum(len(row["strict"]) for row in rows), "verdicts,", true, "strictly followed")


if __name__ == "__main__":
    main()
