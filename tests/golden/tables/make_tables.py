#!/usr/bin/env python3
"""Write the small tables beside this file: rows.json is what each of them holds.

    pip install pyarrow && python make_tables.py

Every column type that data sets use: integers of all widths, floats, booleans, strings, nulls, lists, structs, dictionaries, bytes.
"""
import json
import os

import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq

HERE = os.path.dirname(os.path.abspath(__file__))
SCHEMA = pa.schema([
    ("i8", pa.int8()), ("u16", pa.uint16()), ("i32", pa.int32()), ("i64", pa.int64()), ("f32", pa.float32()), ("f64", pa.float64()),
    ("flag", pa.bool_()), ("text", pa.string()), ("long_text", pa.large_string()), ("bytes", pa.binary()),
    ("choices", pa.list_(pa.string())), ("pair", pa.list_(pa.int16(), 2)),
    ("answers", pa.struct([("text", pa.list_(pa.string())), ("label", pa.list_(pa.int64()))])),
])
ROWS = [
    {"i8": -128, "u16": 65535, "i32": -5, "i64": 1 << 40, "f32": 0.5, "f64": 0.1, "flag": True, "text": "caf\u00e9", "long_text": "x" * 40,
     "bytes": b"ab", "choices": ["a", "", "c"], "pair": [1, 2], "answers": {"text": ["p", "q"], "label": [1, 0]}},
    {"i8": None, "u16": 0, "i32": None, "i64": None, "f32": None, "f64": -2.0, "flag": None, "text": None, "long_text": "",
     "bytes": None, "choices": None, "pair": None, "answers": None},
    {"i8": 7, "u16": 1, "i32": 2, "i64": 3, "f32": 1.5, "f64": 1e100, "flag": False, "text": "", "long_text": "line\nline",
     "bytes": b"", "choices": [], "pair": [3, 4], "answers": {"text": [], "label": [5, None]}},
]


def main():
    table = pa.Table.from_pylist(ROWS, schema=SCHEMA)
    batches = table.to_batches(max_chunksize=2)
    with pa.OSFile(os.path.join(HERE, "stream.arrow"), "wb") as f, ipc.new_stream(f, SCHEMA) as writer:
        for batch in batches:
            writer.write_batch(batch)
    with pa.OSFile(os.path.join(HERE, "file.arrow"), "wb") as f, ipc.new_file(f, SCHEMA) as writer:
        for batch in batches:
            writer.write_batch(batch)
    coded = pa.table({"text": pa.array(["red", "blue", None, "red"]).dictionary_encode(), "n": pa.array([1, 2, 3, 4], pa.uint64())})
    with pa.OSFile(os.path.join(HERE, "dictionary.arrow"), "wb") as f, ipc.new_stream(f, coded.schema) as writer:
        writer.write_table(coded)
    when = pa.table({"when": pa.array([1], pa.timestamp("s"))})
    with pa.OSFile(os.path.join(HERE, "timestamp.arrow"), "wb") as f, ipc.new_stream(f, when.schema) as writer:
        writer.write_table(when)
    pq.write_table(table, os.path.join(HERE, "snappy.parquet"), compression="snappy", row_group_size=2)
    pq.write_table(table, os.path.join(HERE, "zstd.parquet"), compression="zstd", use_dictionary=False)
    with open(os.path.join(HERE, "rows.json"), "w", encoding="utf-8") as f:
        json.dump([{k: v.decode() if isinstance(v, bytes) else v for k, v in row.items()} for row in ROWS], f, ensure_ascii=False, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
