"""A1111's own reader of ``parameters``, and Civitai's of ``Hashes``: the oracles of what we write.

Written after ``modules/infotext_utils.py`` (parse_generation_parameters, quote, unquote) of
AUTOMATIC1111/stable-diffusion-webui 1.10 and Civitai's ``automatic.metadata.ts``.
"""

import json
import re
from typing import Any

RE_PARAM = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
RE_SIZE = re.compile(r"^(\d+)x(\d+)$")
CIVITAI_HASHES = re.compile(r", Hashes:\s*({[^}]+})")


def quote(text: Any) -> Any:
    if "," not in str(text) and "\n" not in str(text) and ":" not in str(text):
        return text
    return json.dumps(text, ensure_ascii=False)


def unquote(text: str) -> Any:
    if len(text) == 0 or text[0] != '"' or text[-1] != '"':
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def parse(infotext: str) -> dict[str, str]:
    result: dict[str, str] = {}
    prompt = negative = ""
    done_with_prompt = False
    *lines, last = infotext.strip().split("\n")
    if len(RE_PARAM.findall(last)) < 3:
        lines.append(last)
        last = ""
    for line in lines:
        told = line.strip()
        if told.startswith("Negative prompt:"):
            done_with_prompt = True
            told = told[16:].strip()
        if done_with_prompt:
            negative += ("" if negative == "" else "\n") + told
        else:
            prompt += ("" if prompt == "" else "\n") + told
    for key, value in RE_PARAM.findall(last):
        if not value:
            continue  # A1111 raises an IndexError here and goes on
        plain = unquote(value) if value[0] == '"' and value[-1] == '"' else value
        if size := RE_SIZE.match(plain):
            result[f"{key}-1"], result[f"{key}-2"] = size.groups()
        else:
            result[key] = plain
    return {**result, "Prompt": prompt, "Negative prompt": negative}


def civitai_hashes(infotext: str) -> dict[str, str]:
    found = CIVITAI_HASHES.search(infotext)
    hashes = json.loads(found[1]) if found else {}
    assert isinstance(hashes, dict)
    return hashes
