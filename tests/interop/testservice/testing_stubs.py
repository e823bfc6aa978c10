# SPDX-License-Identifier: Apache-2.0
"""The stubs of grpc/testing, made into STUBS. Their package is called like grpcio's own: it is
looked for there as well."""
import os

import grpc

grpc.__path__.append(os.path.join(os.environ["STUBS"], "grpc"))
