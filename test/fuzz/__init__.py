"""Differential fuzzer: random work on indexed tables, each query compared with the same query without the index.

A *sequence* is a list of steps that follows from its seed alone: statements on several connections, queries to be
compared, and audits of the index. It runs in a child process, so a crash of the host is a finding like any other. A
sequence that fails is shrunk to the steps that matter and written as a script.

- `schema`, `values`: tables and vectors; `changes`, `queries`: statements and query shapes; `sequence`: their order
- `steps`: what a step is; `database`: runs it; `answers`: compares
- `child`, `parent`: the two processes; `shrink`: smaller scripts; `__main__`: the command
"""
