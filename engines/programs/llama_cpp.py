"""Runs llama.cpp's server, as xllamacpp has it: llama_cpp.py MODEL.gguf PORT"""

from __future__ import annotations

import signal
import sys

import xllamacpp

parameters = xllamacpp.CommonParams()
parameters.model.path = sys.argv[1]
parameters.hostnames = ["127.0.0.1"] if isinstance(parameters.hostnames, list) else "127.0.0.1"
parameters.port = int(sys.argv[2])
parameters.n_parallel, parameters.n_ctx, parameters.n_batch = 4, 16384, 128
parameters.use_jinja = parameters.endpoint_slots = True
parameters.cpuparams.n_threads = 1
server = xllamacpp.Server(parameters)
signal.pause()
