"""Replies in a form, calls of functions and embeddings, by the official `openai` client.

The model knows nothing and would never write JSON by itself, so whatever is well-formed here is so because the server held it to its form.
Replies are drawn hot (temperature 1 or more), and from several seeds where chance might have been kind.
"""

import base64
import contextlib
import enum
import json
import math
import re
import struct
import unittest
from typing import Annotated, Literal

import jsonschema_rs
import openai
import pydantic
from served import HERE, PATIENCE, Server, trained

#: As in wide_recipe.toml: the name it is served under, and the numbers of an embedding.
MODEL, WIDTH = "wide", 64
QUESTION = [{"role": "user", "content": "What is the capital of Estia?"}]
SCHEMA = {
    "type": "object",
    "properties": {
        "who": {"enum": ["king", "city", "river"]},
        "age": {"type": "integer", "minimum": 10, "maximum": 99},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 6}, "minItems": 1, "maxItems": 2},
        "wet": {"type": "boolean"},
    },
    "required": ["who", "age", "tags", "wet"],
    "additionalProperties": False,
}


def setUpModule():
    global server, client
    server = Server(models=[trained(MODEL, HERE / "wide_recipe.toml")])
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=PATIENCE)


def tearDownModule():
    server.kill()


def chat(**asked):
    defaults = {"model": MODEL, "messages": QUESTION, "temperature": 1, "max_tokens": 400}
    return client.chat.completions.create(**(defaults | asked))


def named(schema, **more):
    return {"type": "json_schema", "json_schema": {"name": "thing", "schema": schema} | more}


def content(answer):
    """The words of an answer that came to its own end."""
    choice = answer.choices[0]
    assert choice.finish_reason == "stop", choice
    return choice.message.content


class Forms(unittest.TestCase):
    def test_every_reply_is_json_of_the_schema_and_they_differ(self):
        answer = chat(response_format=named(SCHEMA, strict=True), n=8, seed=1, temperature=1.5)
        self.assertEqual({choice.finish_reason for choice in answer.choices}, {"stop"})
        things = [json.loads(choice.message.content) for choice in answer.choices]
        for thing in things:
            jsonschema_rs.validate(SCHEMA, thing)
            self.assertEqual(list(thing), list(SCHEMA["properties"]), "keys come in the schema's order")
        self.assertGreater(len({json.dumps(thing) for thing in things}), 1)

    def test_without_the_form_the_model_writes_no_json(self):
        # The ground that all the others stand on.
        with self.assertRaises(json.JSONDecodeError):
            json.loads(chat(seed=1, max_tokens=30).choices[0].message.content)

    def test_references_alternatives_and_formats_are_kept(self):
        schema = {
            "type": "object",
            "properties": {
                "when": {"type": "string", "format": "date"},
                "next": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/leaf"}]},
                "code": {"type": "string", "pattern": "^[A-Z]{2}[0-9]{3}$"},
                "fixed": {"const": "é\n\"\\"},
            },
            "required": ["when", "next", "code", "fixed"],
            "additionalProperties": False,
            "$defs": {"leaf": {"type": "object", "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 99}}, "required": ["n"], "additionalProperties": False}},
        }
        check = jsonschema_rs.validator_for(schema, validate_formats=True)
        kinds = set()
        for seed in range(6):
            thing = json.loads(content(chat(response_format=named(schema, strict=True), seed=seed, temperature=2)))
            check.validate(thing)
            kinds.add(type(thing["next"]))
        self.assertEqual(kinds, {dict, type(None)}, "both alternatives are drawn")

    def test_json_object_is_an_object(self):
        # A model that knows nothing may be long in finding the end of a string; what it has written by then begins an object all the same.
        replies = chat(response_format={"type": "json_object"}, n=12, seed=1, max_tokens=300).choices
        self.assertEqual({reply.message.content.lstrip()[0] for reply in replies}, {"{"})
        whole = [reply.message.content for reply in replies if reply.finish_reason == "stop"]
        self.assertGreaterEqual(len(whole), 1)
        for text in whole:
            self.assertIsInstance(json.loads(text), dict)

    def test_a_stream_adds_up_to_the_json(self):
        asked = {"response_format": named(SCHEMA), "seed": 5}
        pieces = [chunk.choices[0].delta.content or "" for chunk in chat(stream=True, **asked) if chunk.choices]
        self.assertGreater(len(pieces), 5)
        self.assertEqual("".join(pieces), content(chat(**asked)))

    def test_a_reply_that_is_cut_says_so(self):
        choice = chat(response_format=named(SCHEMA), max_tokens=6).choices[0]
        self.assertEqual(choice.finish_reason, "length")
        with self.assertRaises(json.JSONDecodeError):
            json.loads(choice.message.content)

    def test_parse_gives_an_object_of_the_class(self):
        class Kind(enum.Enum):
            CITY = "city"
            RIVER = "river"

        class Place(pydantic.BaseModel):
            kind: Kind
            size: Literal["small", "large"]
            near: list["Name"]

        class Name(pydantic.BaseModel):
            letter: Literal["a", "b", "c"]
            number: Annotated[int, pydantic.Field(ge=1, le=9)] | None

        Place.model_rebuild()
        for parse in [client.beta.chat.completions.parse, client.chat.completions.parse]:
            answer = parse(model=MODEL, messages=QUESTION, temperature=1, seed=3, max_tokens=1500, response_format=Place)
            place = answer.choices[0].message.parsed
            self.assertIsInstance(place, Place)
            self.assertEqual(Place.model_validate_json(answer.choices[0].message.content), place)

    def test_parse_of_a_reply_that_is_cut_is_the_client_s_own_error(self):
        class Long(pydantic.BaseModel):
            words: str

        with self.assertRaises(openai.LengthFinishReasonError):
            client.chat.completions.parse(model=MODEL, messages=QUESTION, max_tokens=3, response_format=Long)

    def test_responses_hold_their_text_to_a_schema(self):
        form = {"type": "json_schema", "name": "thing", "schema": SCHEMA, "strict": True}
        answer = client.responses.create(model=MODEL, input="Who?", temperature=1, text={"format": form})
        self.assertEqual(answer.status, "completed")
        jsonschema_rs.validate(SCHEMA, json.loads(answer.output_text))

        class Thing(pydantic.BaseModel):
            who: Literal["king", "city"]
            wet: bool

        parsed = client.responses.parse(model=MODEL, input="Who?", temperature=1, text_format=Thing).output_parsed
        self.assertIsInstance(parsed, Thing)


class Grammars(unittest.TestCase):
    LARK = 'start: greeting ", " name "!"\ngreeting: "Hello" | "Good " ("morning" | "night")\nname: /[A-Z][a-z]{2,5}/\n'
    MEANING = re.compile("(Hello|Good (morning|night)), [A-Z][a-z]{2,5}!")

    def complete(self, **asked):
        defaults = {"model": MODEL, "prompt": "The capital of", "max_tokens": 100, "temperature": 1}
        return client.completions.create(**(defaults | asked)).choices

    def test_a_grammar_in_lark_s_form_is_followed(self):
        for grammar in [self.LARK, {"type": "lark", "value": self.LARK}]:
            words = {choice.text for choice in self.complete(n=6, seed=1, extra_body={"grammar": grammar})}
            for text in words:
                self.assertRegex(text, re.compile(f"^{self.MEANING.pattern}$"))
            self.assertGreater(len(words), 1)
        self.assertRegex(content(chat(extra_body={"grammar": self.LARK})), self.MEANING)

    def test_a_rule_that_refers_to_itself_is_followed(self):
        balanced = 'start: "(" start ")" | "[" start "]" | "x"\n'
        ended = [choice.text for choice in self.complete(n=12, seed=2, extra_body={"grammar": balanced}) if choice.finish_reason == "stop"]
        for text in ended:
            half = len(text) // 2
            self.assertEqual(text[half], "x", text)
            self.assertEqual(text[:half].translate(str.maketrans("([", ")]")), text[half + 1 :][::-1])
        self.assertGreater(max(map(len, ended)), 1, "some have brackets")

    def test_a_regular_expression_is_matched_as_a_whole(self):
        pattern = r"(yes|no), [0-9]{3}(\.5)?"
        for choice in self.complete(n=6, seed=3, extra_body={"grammar": {"type": "regex", "value": pattern}}):
            self.assertEqual(choice.finish_reason, "stop")
            self.assertIsNotNone(re.fullmatch(pattern, choice.text), choice.text)

    def test_a_schema_may_come_as_a_grammar(self):
        (choice,) = self.complete(max_tokens=400, extra_body={"grammar": {"type": "json_schema", "value": SCHEMA}})
        jsonschema_rs.validate(SCHEMA, json.loads(choice.text))

    def test_log_probabilities_are_still_the_model_s_own(self):
        # What must be written is improbable to the model, which says so.
        (choice,) = self.complete(logprobs=1, extra_body={"grammar": {"type": "regex", "value": "zq9 zq9"}})
        self.assertEqual("".join(choice.logprobs.tokens).removesuffix("<|endoftext|>"), "zq9 zq9")
        forced = [(own, max(top.values())) for own, top in zip(choice.logprobs.token_logprobs, choice.logprobs.top_logprobs)]
        self.assertGreater(sum(own < best - 1 for own, best in forced), 2, forced)


WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Oslo", "Rome"]}, "days": {"type": "integer", "minimum": 1, "maximum": 7}},
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}
CLOCK = {"type": "function", "function": {"name": "clock", "strict": True, "parameters": {"type": "object", "properties": {}, "additionalProperties": False}}}


class Functions(unittest.TestCase):
    def check_call(self, call):
        """Its name; the arguments are what the function takes."""
        self.assertEqual(call.type, "function")
        self.assertTrue(call.id)
        tools = {tool["function"]["name"]: tool["function"]["parameters"] for tool in [WEATHER, CLOCK]}
        jsonschema_rs.validate(tools[call.function.name], json.loads(call.function.arguments))
        return call.function.name

    def call(self, **asked):
        choice = chat(**({"tools": [WEATHER, CLOCK], "parallel_tool_calls": False} | asked)).choices[0]
        self.assertEqual(choice.finish_reason, "tool_calls")
        self.assertIsNone(choice.message.content)
        (call,) = choice.message.tool_calls
        return call

    def test_required_makes_a_call_and_the_model_chooses_which(self):
        names = {self.check_call(self.call(tool_choice="required", seed=seed, temperature=2)) for seed in range(8)}
        self.assertEqual(names, {"weather", "clock"})

    def test_several_calls_have_numbers_of_their_own(self):
        many = (chat(tools=[WEATHER, CLOCK], tool_choice="required", seed=seed, temperature=2).choices[0].message.tool_calls for seed in range(60))
        calls = next(calls for calls in many if len(calls) > 1)
        self.assertEqual(len({call.id for call in calls}), len(calls))
        for call in calls:
            self.check_call(call)

    def test_a_named_function_is_the_one_that_is_called(self):
        for tool in [WEATHER, CLOCK]:
            name = tool["function"]["name"]
            for seed in range(3):
                call = self.call(tool_choice={"type": "function", "function": {"name": name}}, seed=seed, temperature=2)
                self.assertEqual(self.check_call(call), name)

    def test_none_calls_nothing_and_is_as_if_there_were_no_functions(self):
        asked = {"seed": 2, "max_tokens": 20}
        none = chat(tools=[WEATHER], tool_choice="none", **asked)
        self.assertIsNone(none.choices[0].message.tool_calls)
        self.assertEqual(none.choices[0].message.content, chat(**asked).choices[0].message.content)
        self.assertEqual(none.usage.prompt_tokens, chat(**asked).usage.prompt_tokens)

    def test_auto_leaves_the_model_its_words_and_tells_it_of_the_functions(self):
        asked = {"seed": 2, "max_tokens": 20}
        auto = chat(tools=[WEATHER], tool_choice="auto", **asked)
        self.assertTrue(auto.choices[0].message.content)
        self.assertIsNone(auto.choices[0].message.tool_calls)
        self.assertGreater(auto.usage.prompt_tokens, chat(**asked).usage.prompt_tokens + 100)

    def test_a_streamed_call_adds_up_to_the_whole_one(self):
        asked = {"tools": [WEATHER], "tool_choice": "required", "seed": 4, "parallel_tool_calls": False}
        whole = chat(**asked).choices[0].message.tool_calls[0]
        chunks = [chunk.choices[0] for chunk in chat(stream=True, **asked) if chunk.choices]
        pieces = [piece for chunk in chunks for piece in chunk.delta.tool_calls or []]
        self.assertEqual({piece.index for piece in pieces}, {0})
        self.assertEqual([piece.function.name for piece in pieces if piece.function.name], ["weather"])
        self.assertEqual(len([piece for piece in pieces if piece.id]), 1)
        self.assertGreater(len(pieces), 2, "arguments come as they are written")
        self.assertEqual("".join(piece.function.arguments or "" for piece in pieces), whole.function.arguments)
        self.assertEqual(chunks[-1].finish_reason, "tool_calls")
        self.assertFalse(any(chunk.delta.content for chunk in chunks))

    def test_the_stream_helper_puts_calls_together(self):
        asked = {"model": MODEL, "messages": QUESTION, "seed": 6, "temperature": 1, "max_tokens": 400, "parallel_tool_calls": False}
        tool = openai.pydantic_function_tool(Steps, name="steps")
        done = []
        with client.chat.completions.stream(tools=[tool], tool_choice="required", **asked) as stream:
            for event in stream:
                if event.type == "tool_calls.function.arguments.done":
                    done.append(event)
            final = stream.get_final_completion()
        (call,) = final.choices[0].message.tool_calls
        self.assertIsInstance(call.function.parsed_arguments, Steps)
        self.assertEqual([event.arguments for event in done], [call.function.arguments])

    def test_what_a_function_gave_is_sent_back_and_read(self):
        call = self.call(tool_choice="required", seed=1)
        result = {"role": "tool", "tool_call_id": call.id, "content": "It rains."}
        said = chat(tools=[WEATHER], tool_choice="required", seed=1).choices[0].message
        asked = {"tools": [WEATHER], "max_tokens": 5, "seed": 1}
        before = chat(**asked).usage.prompt_tokens
        talk = [*QUESTION, said, *({"role": "tool", "tool_call_id": c.id, "content": "It rains."} for c in said.tool_calls)]
        self.assertGreater(chat(messages=talk, **asked).usage.prompt_tokens, before + 20)
        # A result that answers no call is a mistake of the program that sends it.
        with self.assertRaises(openai.BadRequestError) as refused:
            chat(messages=[*QUESTION, result | {"tool_call_id": "call_nobody"}], **asked)
        self.assertEqual(refused.exception.param, "messages[1].tool_call_id")
        self.assertIn("call_nobody", refused.exception.message)

    def test_responses_call_functions_too(self):
        tool = {"type": "function"} | WEATHER["function"]
        asked = {"model": MODEL, "input": "Weather?", "tools": [tool], "temperature": 1}
        answer = client.responses.create(**asked, tool_choice={"type": "function", "name": "weather"})
        (call,) = answer.output
        self.assertEqual((call.type, call.name), ("function_call", "weather"))
        jsonschema_rs.validate(tool["parameters"], json.loads(call.arguments))
        back = [{"role": "user", "content": "Weather?"}, call.to_dict(), {"type": "function_call_output", "call_id": call.call_id, "output": "Rain."}]
        after = client.responses.create(**asked | {"input": back}, max_output_tokens=5, tool_choice="none")
        alone = client.responses.create(**asked, max_output_tokens=5, tool_choice="none")
        self.assertGreater(after.usage.input_tokens, alone.usage.input_tokens + 20)


class Steps(pydantic.BaseModel):
    """Walks some steps."""

    where: Literal["left", "right"]
    quick: bool


def dot(one, other):
    return math.fsum(x * y for x, y in zip(one, other, strict=True))


class Embeddings(unittest.TestCase):
    def embed(self, texts, **asked):
        return client.embeddings.create(model=MODEL, input=texts, **asked)

    def test_a_text_is_a_vector_of_length_one_and_itself(self):
        # The client asks for base64 unless told otherwise, and decodes it.
        answer = self.embed("The king of Estia")
        (one,) = answer.data
        self.assertEqual(len(one.embedding), WIDTH)
        self.assertAlmostEqual(dot(one.embedding, one.embedding), 1, places=5)
        again = self.embed("The king of Estia").data[0].embedding
        self.assertEqual(one.embedding, again)
        other = self.embed("9 + 4 = 13").data[0].embedding
        self.assertLess(dot(one.embedding, other), 0.9999)
        self.assertEqual(answer.usage.prompt_tokens, answer.usage.total_tokens)
        self.assertGreater(answer.usage.prompt_tokens, 1)

    def test_a_list_is_embedded_in_order_and_as_each_alone(self):
        texts = ["A cat", "The king of Estia", "A cat", "rivers " * 40]
        many = self.embed(texts).data
        self.assertEqual([one.index for one in many], [0, 1, 2, 3])
        for text, one in zip(texts, many, strict=True):
            self.assertEqual(one.embedding, self.embed(text).data[0].embedding)
        self.assertEqual(many[0].embedding, many[2].embedding)
        self.assertNotEqual(many[0].embedding, many[1].embedding)

    def test_both_encodings_are_the_same_numbers_to_the_bit(self):
        floats = self.embed("A cat", encoding_format="float").data[0].embedding
        coded = self.embed("A cat", encoding_format="base64").data[0].embedding
        self.assertIsInstance(coded, str)
        numbers = struct.unpack(f"<{WIDTH}f", base64.b64decode(coded))
        self.assertEqual([struct.pack("<f", x) for x in floats], [struct.pack("<f", x) for x in numbers])

    def test_tokens_are_embedded_as_their_text_is(self):
        tokens = json.loads(server.post("/tokenize", {"prompt": "A cat"}))["tokens"]
        expected = self.embed("A cat").data[0].embedding
        self.assertEqual(self.embed(tokens).data[0].embedding, expected)
        both = self.embed([tokens, tokens[:-1]]).data
        self.assertEqual(both[0].embedding, expected)
        self.assertNotEqual(both[1].embedding, expected)

    def test_fewer_dimensions_are_the_first_ones_at_length_one(self):
        whole = self.embed("A cat").data[0].embedding
        short = self.embed("A cat", dimensions=8).data[0].embedding
        scale = math.sqrt(dot(whole[:8], whole[:8]))
        self.assertEqual(len(short), 8)
        for x, y in zip(short, whole):
            self.assertAlmostEqual(x, y / scale, places=5)

    def test_nothing_is_a_document_too(self):
        # The token that begins one is read.
        self.assertEqual(self.embed("").usage.prompt_tokens, 1)

    def test_what_cannot_be_embedded_is_refused(self):
        for asked, param in [
            ({"texts": []}, "input"),
            ({"texts": [[1, 10**6]]}, "input[0][1]"),
            ({"texts": "x " * 5000}, "input"),
            ({"texts": "A", "dimensions": WIDTH + 1}, "dimensions"),
            ({"texts": "A", "encoding_format": "hex"}, "encoding_format"),
        ]:
            with self.subTest(str(asked)[:60]):
                with self.assertRaises(openai.BadRequestError) as refused:
                    self.embed(**asked)
                self.assertEqual(refused.exception.param, param)


class Refusals(unittest.TestCase):
    """A form that cannot be kept: status 400, the field's name, and a sentence that says what is wrong."""

    def check(self, param, part, address="/v1/chat/completions", **asked):
        body = {"model": MODEL, "messages": QUESTION, "max_tokens": 5} | asked
        with self.assertRaises(openai.BadRequestError) as refused:
            client.post(address.removeprefix("/v1"), body=body, cast_to=object)
        error = refused.exception
        self.assertEqual(error.param, param, error.message)
        self.assertIn(part, error.message)
        self.assertEqual(error.type, "invalid_request_error")

    def test_schemas(self):
        for schema, part in [
            ({"type": "odd"}, "odd"),
            ({"type": "object", "properties": 3}, "properties"),
            ({"$ref": "#/$defs/nowhere"}, "nowhere"),
            ({"type": "string", "pattern": "("}, "held to response_format"),
            ({"type": "integer", "minimum": 5, "maximum": 4}, "minimum (5)"),
            (False, "schema is false"),
        ]:
            with self.subTest(schema):
                self.check("response_format", part, response_format=named(schema, strict=True))

    def test_what_is_no_format_is_named_by_its_place(self):
        self.check("response_format.type", "json_schema", response_format={"type": "xml"})
        self.check("response_format.json_schema", "missing", response_format={"type": "json_schema"})
        self.check("response_format.json_schema.schema", "object", response_format=named([]))
        self.check("response_format.json_schema.frobnicate", "frobnicate", response_format=named({}, frobnicate=1))

    def test_a_strict_schema_whose_words_cannot_be_kept_is_refused_and_a_loose_one_is_not(self):
        schema = {"type": "object", "properties": {"a": {"type": "array", "items": {"enum": ["x", "y"]}, "maxItems": 2, "uniqueItems": True}}, "required": ["a"], "additionalProperties": False}
        self.check("response_format", "uniqueItems", response_format=named(schema, strict=True))
        thing = json.loads(content(chat(response_format=named(schema))))
        self.assertLessEqual(set(thing["a"]), {"x", "y"})

    def test_grammars(self):
        for grammar, part in [
            ("start: nowhere", "nowhere"),
            ('root ::= "a"', "GBNF"),
            ('first: "a"', "start"),
            ({"type": "regex", "value": "("}, "held to grammar"),
            ({"type": "regex", "value": "a" * 70_000}, "bytes"),
            ({"type": "regex", "value": "(" * 200 + ")" * 200}, "at once"),
        ]:
            with self.subTest(str(grammar)[:60]):
                self.check("grammar", part, grammar=grammar)
        self.check("grammar", "give one of them", grammar='start: "a"', response_format={"type": "json_object"})
        self.check("ignore_eos", "leave out", grammar='start: "a"', ignore_eos=True)

    def test_functions(self):
        function = {"name": "f", "parameters": {"type": "odd"}}
        self.check("tools", "odd", tools=[{"type": "function", "function": function}])
        self.check("tools", "two functions", tools=[CLOCK, CLOCK])
        self.check("tools[0].function.name", "letters", tools=[{"type": "function", "function": {"name": "no blanks"}}])
        self.check("tool_choice", "none of tools", tools=[CLOCK], tool_choice={"type": "function", "function": {"name": "g"}})
        self.check("tool_choice", "only makes sense", tool_choice="required")

    def test_responses(self):
        form = {"type": "json_schema", "name": "x", "schema": {"type": "odd"}}
        asked = {"model": MODEL, "input": "x", "text": {"format": form}}
        with self.assertRaises(openai.BadRequestError) as refused:
            client.responses.create(**asked)
        self.assertEqual(refused.exception.param, "text.format")
        self.assertIn("odd", refused.exception.message)

    def test_the_server_is_as_it_was_afterwards(self):
        with contextlib.suppress(openai.BadRequestError):
            chat(response_format=named({"type": "odd"}))
        self.assertIn(json.loads(content(chat(response_format=named({"enum": ["king", "city"]})))), ["king", "city"])


if __name__ == "__main__":
    unittest.main()
