"""Pages work under the content security policy: the fixture `browser` fails if it blocks."""

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import presence_of_element_located
from selenium.webdriver.support.wait import WebDriverWait

from orderflow.catalog.models import Product
from tests.conftest import product

pytestmark = pytest.mark.local_only

RESPONSE_STATUS = ".live-responses-table tbody .response-col_status"


def test_swagger_ui_lists_operations_and_calls_one(logged_in: Chrome, server: str) -> None:
    logged_in.get(f"{server}/api/v1/docs/")
    wait = WebDriverWait(logged_in, 30)
    wait.until(lambda chrome: len(chrome.find_elements(By.CSS_SELECTOR, ".opblock")) > 25)
    block = logged_in.find_element(By.ID, "operations-catalog-catalog_products_create")
    logged_in.execute_script("arguments[0].scrollIntoView()", block)
    block.find_element(By.CSS_SELECTOR, ".opblock-summary-control").click()
    for button in (".try-out__btn", ".execute"):
        found = wait.until(presence_of_element_located((By.CSS_SELECTOR, button)))
        logged_in.execute_script("arguments[0].click()", found)
    wait.until(lambda chrome: block.find_elements(By.CSS_SELECTOR, RESPONSE_STATUS))
    assert "201" in block.find_element(By.CSS_SELECTOR, RESPONSE_STATUS).text
    # The example of the schema, sent in the session with its CSRF token.
    assert Product.objects.get().sku == "STOOL"


def test_product_search_of_add_form_works(logged_in: Chrome, server: str) -> None:
    product("CHAIR")
    logged_in.get(f"{server}/admin/sales/salesorder/add/")
    wait = WebDriverWait(logged_in, 30)
    wait.until(lambda chrome: chrome.find_elements(By.CSS_SELECTOR, ".select2-selection"))
    logged_in.find_element(By.CSS_SELECTOR, ".select2-selection").click()
    wait.until(
        lambda chrome: "CHAIR" in chrome.find_element(By.CSS_SELECTOR, ".select2-results").text
    )
