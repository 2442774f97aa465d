"""Writes tests/golden/text/jinja_cases.json: what Python's jinja2 renders, in the environment that chat templates get in
Transformers (trim_blocks, lstrip_blocks, loop controls, an immutable sandbox, tojson without HTML escapes).

  python3 scripts/make_jinja_cases.py > tests/golden/text/jinja_cases.json      (needs jinja2)

A template that jinja2 refuses is recorded with "error": true; only that it is refused is compared, not the words."""
import json
import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

USER = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": " hi\n"}, {"role": "assistant", "content": "Hello"}]
V = {"messages": USER, "n": 3, "x": 1.5, "name": "Ada", "empty": [], "none": None, "yes": True, "items": [3, 1, 2],
     "words": ["b", "A", "c"], "d": {"b": 1, "a": [1, 2]}, "text": "  One two  three\nfour ", "uni": "naïve 東京 😀",
     "rows": [{"k": "x", "v": 2}, {"k": "y", "v": 1}, {"k": "x", "v": 3}]}

TEMPLATES = r'''
{% for m in messages %}<{{ m.role }}>{{ m['content'] | trim }}</{{ m['role'] }}>{% endfor %}
{%- for m in messages -%} {{ loop.index }}/{{ loop.length }} {{ loop.first }} {{ loop.last }} {%- endfor -%}
{% for m in messages if m.role != 'system' %}{{ loop.index0 }}{{ m.role }}{% else %}none{% endfor %}
{% for m in empty %}x{% else %}nothing{% endfor %}
{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}
{% for i in range(2, 10, 3) %}{{ i }},{% endfor %}{{ range(3) | list }}
{% set ns = namespace(found=false, count=0) %}{% for i in items %}{% if i > 1 %}{% set ns.found = true %}{% set ns.count = ns.count + 1 %}{% endif %}{% endfor %}{{ ns.found }} {{ ns.count }}
{% set a, b = (1, 2) %}{{ a }}{{ b }}
{% set block %}inside {{ name }}{% endset %}[{{ block }}]
{% set x = 5 %}{% for i in [1] %}{% set x = 6 %}{{ x }}{% endfor %}{{ x }}
{{ 7 // 2 }} {{ 7 / 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 1e3 }} {{ 1.0 }} {{ 0.1 + 0.2 }}
{{ 1 + 2 * 3 - 4 }} {{ (1 + 2) * 3 }} {{ -n }} {{ +n }} {{ not n }} {{ n and 0 }} {{ 0 or 'x' }}
{{ 'a' ~ 1 ~ none ~ true }} {{ 'ab' * 2 }} {{ [1] + [2] }} {{ 'a' + 'b' }}
{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 }} {{ 'a' == 'a' }} {{ [1, 2] == [1, 2] }} {{ 'a' != 'b' }}
{{ 1 in items }} {{ 9 not in items }} {{ 'w' in text }} {{ 'b' in d }} {{ 'tw' not in text }}
{{ 'yes' if n > 2 else 'no' }} {{ 'x' if false }} {{ ('a' if yes else 'b') ~ 'c' }}
{{ name[0] }} {{ name[-1] }} {{ name[1:] }} {{ name[::-1] }} {{ items[1:] }} {{ items[::-1] }} {{ items[-2:] }} {{ name[5:] }}
{{ d.a }} {{ d['b'] }} {{ d.get('zz', 'def') }} {{ d.get('zz') }} {{ d.items() | list }} {{ d.keys() | list }} {{ d.values() | list }}
{{ missing }} {{ missing | default('dd') }} {{ '' | default('e', true) }} {{ none | default('n') }} {{ missing is defined }} {{ name is defined }}
{{ none is none }} {{ n is number }} {{ x is float }} {{ n is integer }} {{ name is string }} {{ items is iterable }} {{ items is sequence }} {{ d is mapping }} {{ yes is boolean }} {{ yes is true }} {{ yes is false }}
{{ n is odd }} {{ n is even }} {{ n is divisibleby 3 }} {{ n is eq 3 }} {{ n is gt 2 }} {{ n is in items }} {{ name is upper }} {{ name is lower }} {{ n is not none }} {{ name is sameas name }}
{{ text | trim }}|{{ text.strip() }}|{{ text.lstrip() }}|{{ text.rstrip() }}|{{ 'xxaxx'.strip('x') }}
{{ text.split() }} {{ 'a,b,c'.split(',') }} {{ 'a,b,c'.split(',', 1) }} {{ 'a,b'.rsplit(',', 1) }} {{ text.splitlines() }}
{{ name.upper() }} {{ name.lower() }} {{ name | upper }} {{ name | lower }} {{ 'hello world' | title }} {{ 'hello world' | capitalize }} {{ 'hello'.capitalize() }} {{ 'hello world'.title() }}
{{ name.startswith('A') }} {{ name.endswith('a') }} {{ name.startswith(('B', 'A')) }} {{ text.replace('two', 'TWO') }} {{ 'aaa'.replace('a', 'b', 2) }} {{ text | replace('One', '1') }}
{{ 'abc'.find('c') }} {{ 'abc'.find('z') }} {{ 'abcabc'.count('b') }} {{ 'abc'.index('b') }} {{ '12'.isdigit() }} {{ 'ab'.isalpha() }} {{ 'ab1'.isalnum() }} {{ ' '.isspace() }}
{{ items | length }} {{ items | count }} {{ items | sort }} {{ items | sort(reverse=true) }} {{ words | sort }} {{ words | sort(case_sensitive=true) }} {{ rows | sort(attribute='v') | map(attribute='v') | list }}
{{ items | first }} {{ items | last }} {{ items | min }} {{ items | max }} {{ items | sum }} {{ items | reverse | list }} {{ items | join(', ') }} {{ rows | join('-', attribute='k') }} {{ items | unique | list }}
{{ words | map('upper') | list }} {{ rows | map(attribute='k') | join }} {{ rows | map(attribute='z', default='?') | list }}
{{ items | select('odd') | list }} {{ items | reject('odd') | list }} {{ rows | selectattr('k', 'equalto', 'x') | list | length }} {{ rows | rejectattr('k', 'eq', 'x') | list | length }} {{ rows | selectattr('v') | list | length }}
{{ rows | groupby('k') | length }} {% for k, g in rows | groupby('k') %}{{ k }}={{ g | map(attribute='v') | list }};{% endfor %}
{{ d | tojson }} {{ d | tojson(indent=2) }} {{ uni | tojson }} {{ [1, 2.5, none, true, '<a>'] | tojson }} {{ '"\n\t' | tojson }}
{{ n | string }} {{ '12' | int }} {{ 'x' | int }} {{ 'x' | int(7) }} {{ '1.5' | float }} {{ 3.7 | int }} {{ 3.14159 | round(2) }} {{ 2.5 | round }} {{ -3 | abs }} {{ 3 | round }}
{{ items | list }} {{ 'abc' | list }} {{ d | list }} {{ d | dictsort }} {{ d | items | list }} {{ 'a b' | wordcount }} {{ items | batch(2) | list }} {{ items | slice(2) | list }}
{{ "%s is %d and %.2f" | format(name, n, x) }} {{ "%05d|%-5s|%5s|%x" | format(42, 'a', 'b', 255) }} {{ "%s %s" % (name, n) }}
{{ '{} {}'.format(name, n) }} {{ '{0}{1}{0}'.format('a', 'b') }} {{ '{:>5}|{:<5}|{:^5}|{:.2f}|{:05d}'.format('a', 'b', 'c', 3.14159, 42) }} {{ '{name}'.format(name='z') }}
{{ ', '.join(words) }} {{ '-'.join(['a']) }}
{% macro tag(name, cls='c', *args) %}<{{ name }} class={{ cls }}>{{ args }}</{{ name }}>{% endmacro %}{{ tag('p') }}{{ tag('q', 'k') }}{{ tag(cls='z', name='b') }}
{% macro outer(a) %}{{ caller(a) }}!{% endmacro %}{% call(v) outer(4) %}got {{ v }}{% endcall %}
{% macro m(x) %}{% if x > 0 %}{{ x }}{{ m(x - 1) }}{% endif %}{% endmacro %}{{ m(3) }}
{% filter upper %}shout {{ name }}{% endfilter %}
{% raw %}{{ not evaluated }} {% if %}{% endraw %}
{# a comment #}a{#- trimmed -#} b
a   {%- if true %}   b   {%- endif %}   c
{% if false %}a{% elif n == 3 %}b{% else %}c{% endif %}
{% if missing %}a{% else %}b{% endif %}{% if not empty %}c{% endif %}{% if '' %}d{% endif %}{% if 0.0 %}e{% endif %}
{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a }}
{% generation %}hello{% endgeneration %}
{{ dict(a=1, b='x') }} {{ {'k': [1, (2, 3), (4,)], 'z': none} }} {{ () }} {{ [] }} {{ {} }} {{ [true, false] }}
{{ 'it\'s' }} {{ "q\"q" }} {{ ['it\'s', "q\"q", 'both\'"', '\n\t\\'] }} {{ ['naïve', '😀', '\u00e9'] }}
{{ 1.0 }} {{ 1e16 }} {{ 1e15 }} {{ 123456789.123 }} {{ 1e-5 }} {{ 0.0001 }} {{ 1/3 }} {{ 100.0 * 3 }}
{{ loop is defined }}{% for a in [1, 2] %}{% for b in [3, 4] %}{{ loop.index }}{{ loop.revindex }}{{ loop.depth }}{% endfor %}{{ loop.cycle('odd', 'even') }}{% endfor %}
{% for x in [1, 2, 3] %}{{ loop.previtem | default('-') }}{{ loop.nextitem | default('-') }} {% endfor %}
{% for k, v in d.items() %}{{ k }}:{{ v }};{% endfor %}
{% for x in [1, 1, 2] recursive %}{{ x }}{% endfor %}{% for x in [[1, [2]], [3]] recursive %}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}{% endif %}{% endfor %}
{% for x in 'abc' %}{{ x }}.{% endfor %}{% for x in d %}{{ x }}{% endfor %}
{{ messages[0].content }} {{ messages[-1]['role'] }} {{ messages[1:] | length }} {{ (messages | first).role }} {{ messages | map(attribute='role') | list }}
{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | first | trim }}
{{ uni | length }} {{ uni[0:5] }} {{ uni | upper }} {{ uni[::-1] }} {{ '東' in uni }} {{ 'ß' | upper }} {{ 'İ' | lower | length }}
{{ 'abc' < 'abd' }} {{ [1, 2] < [1, 3] }} {{ 'a' * 0 }} {{ true + 1 }} {{ true == 1 }} {{ 5 | string | length }}
{{ '<b>' | escape }} {{ '<b>' | e }} {{ '<b>' | safe }}
{{ 'a\nb' | indent(2) }} {{ 'a\nb' | indent(2, true) }} {{ 'long text here' | truncate(8) }} {{ 'x' | center(5) }}|
{{ ['a', 'b'] | join(d.b | string) }} {{ (1, 2)[0] }} {{ [1, 2, 3][1] }} {{ {'a': {'b': 'deep'}}.a.b }}
{%- set sep = '' -%}
{%- for m in messages -%}
    {%- if m.role == 'user' %}
        {{- '[INST] ' + m.content | trim + ' [/INST]' }}
    {%- elif m.role == 'assistant' %}
        {{- ' ' ~ m.content ~ '</s>' }}
    {%- endif -%}
{%- endfor -%}
'''.strip('\n').split('\n')
# The last template spans several lines: put it together again.
start = next(i for i, t in enumerate(TEMPLATES) if t.startswith("{%- set sep"))
TEMPLATES = TEMPLATES[:start] + ["\n".join(TEMPLATES[start:])]

TEMPLATES += [
    "line one\n  {% if yes %}\n  kept\n  {% endif %}\nend\n",
    "a\n{% for i in items %}\n{{ i }}\n{% endfor %}\nb",
    "{{ name }}\n\n", "\n{% if yes %}\n\nx{% endif %}\n", "   {{ name }}   \n", "{%+ if yes %} a {% endif +%} \n b",
    "x {# c #}\ny", "{{- '  a ' -}}   b", "{% set a = 1 -%}   {{ a }}", "tab\t{% if yes %}\tq\t{% endif %}\t",
    "{{ raise_exception('no system role') }}", "{{ unknown_function() }}", "{{ missing.field }}", "{{ 1 + 'a' }}", "{{ name | nofilter }}",
    "{{ name is notest }}", "{% if %}", "{% for x in %}{% endfor %}", "{{ 'unterminated }}", "{% unknown_tag %}", "{{ 1 // 0 }}", "{{ items[9] }}",
    "{{ d.zz.y }}", "{% endfor %}", "{% if yes %}", "{{ (1, 2 }}", "{{ [].append(1) }}", "{{ items.append(4) }}", "{{ d.update({}) }}", "{{ ''.__class__ }}",
    "{{ none + 1 }}", "{{ none.x.y }}", "{{ 'a'.nomethod() }}", "{{ 3 | length }}", "{{ {'a': 1}[['x']] }}", "{{ messages[0]['nokey'] }}", "{{ n.real }}",
    "{% for a, b in [(1, 2, 3)] %}{% endfor %}", "{% set ns.x = 1 %}", "{% macro a(x) %}{{ x }}{% endmacro %}{{ a(1, 2) }}", "{{ range(3)[1] }} {{ range(3) | last }}",
    "{{ 'x' if missing else 'y' }}", "{{ missing ~ 'a' }}", "{{ missing | length }}", "{{ missing | list }}", "{% for x in missing %}a{% else %}b{% endfor %}",
    "{{ missing == missing }} {{ missing == none }} {{ none == none }}", "{{ strftime_now('%Y-%m-%d %d %b %Y %B %A %H:%M') }}",
    "{{ [1,2,3] | tojson }} {{ {'b':1,'a':{'z':[]}} | tojson(indent=4) }} {{ [] | tojson(indent=2) }} {{ {} | tojson(indent=2) }}",
    "{{ {'a': 'é', 'b': [1.0, 1e20]} | tojson }} {{ {'a': 1} | tojson(separators=(',', ':')) }} {{ {'b': 1, 'a': 2} | tojson(sort_keys=true) }}",
]


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def strftime_now(format):
    import datetime
    return datetime.datetime(2025, 4, 15, 9, 30).strftime(format)


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_same"), [], [], body).set_lineno(line)

    def _same(self, caller):
        return caller()


env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
env.filters["tojson"] = tojson
env.globals["raise_exception"] = raise_exception
env.globals["strftime_now"] = strftime_now

cases = []
for template in TEMPLATES:
    case = {"template": template}
    try:
        case["text"] = env.from_string(template).render(**V)
    except Exception:
        case["error"] = True
    cases.append(case)
print(json.dumps({"jinja2": jinja2.__version__, "now_utc_us": 1744709400000000, "variables": V, "cases": cases}, ensure_ascii=False, indent=1))
