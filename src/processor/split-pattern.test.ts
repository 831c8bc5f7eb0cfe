import { describe, expect, it } from "vitest"
import { patternDanger } from "./split-pattern"

describe("patterns of tokenizers", () => {
  it.each([
    // Qwen2, GPT-2, Llama 3, GPT-4o, DeepSeek.
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{M}]*[\\p{Ll}\\p{Lo}\\p{M}]+(?i:'s|'t)?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+",
    "[一-龥぀-ゟ゠-ヿ]+",
    "a{1,}b{2,5}?(?:c|d)?",
  ])("%# is known and runs", (pattern) => expect(patternDanger(pattern)).toBeUndefined())

  it.each([
    ["(a+)+$", /repeats a group/],
    ["(?:a|aa)*b", /repeats a group/],
    ["(a|b){2,}", /repeats a group/],
    ["(a)\\1", /refers back/],
    ["\\k<x>", /refers back/],
    ["\\s*\\s*\\s*\\s*x", /more than 3 repetitions/],
    ["[a)]*[b]*(c*[d]*)", /more than 3/],
    ["x".repeat(3000), /3000 characters/],
  ])("%s is not run", (pattern, why) => expect(patternDanger(pattern)).toMatch(why))
})
